-- Windows of a stream's events whose newest run was skipped, or may be about to be.
insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
select r.metric_id, r.bucket_size, r.chain, r.bucket_start, 'imported'
from (
    select * from runs where state = 'skipped'
    union all
    select * from runs where state = 'running'
) r
join metric_registry m using (metric_id)
where m.deleted_at is null
  and exists (
      select
      from stream_types t
      where t.stream = $1 and t.chain = r.chain and event_types(m.definition) ? t.event_type
  )
  and not exists (
      select
      from runs n
      where n.metric_id = r.metric_id
        and n.bucket_size = r.bucket_size
        and n.chain = r.chain
        and n.bucket_start = r.bucket_start
        and n.run_id > r.run_id
  )
order by r.run_id
on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do nothing
