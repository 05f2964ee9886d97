-- Windows of a stream's events whose newest run was skipped, or may be about to be.
insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
select metric_id, bucket_size, chain, bucket_start, 'imported'
from (
    select distinct on (r.metric_id, r.bucket_size, r.chain, r.bucket_start)
           r.run_id, r.metric_id, r.bucket_size, r.chain, r.bucket_start, r.state
    from runs r
    join metric_registry m using (metric_id)
    join stream_types t
        on t.chain = r.chain and t.event_type = m.definition #>> '{calculation_logic,stream,event_type}'
    where t.stream = $1 and m.deleted_at is null
    order by r.metric_id, r.bucket_size, r.chain, r.bucket_start, r.run_id desc
) newest
where state in ('skipped', 'running')
order by run_id
on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do nothing
