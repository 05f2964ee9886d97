-- The newest runs of windows, where they are in a state.
select run_id
from (
    select distinct on (r.metric_id, r.bucket_size, r.chain, r.bucket_start) r.run_id, r.state
    from runs r
    join metric_registry m using (metric_id)
    where m.deleted_at is null and ($1 = '' or m.name = $1)
    order by r.metric_id, r.bucket_size, r.chain, r.bucket_start, r.run_id desc
) newest
where state = $2
order by run_id
