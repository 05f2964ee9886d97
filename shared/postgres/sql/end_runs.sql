-- Where a run is to be begun again, and its window was queued meanwhile, that one takes its place.
update runs r
set state = case when $2 = 'queued' and q.run_id is not null then 'failed' else $2 end,
    lease = null,
    lease_until = null,
    attempt = r.attempt - $4,
    not_before = clock_timestamp() + $3,
    finished_at = case when $2 = 'queued' and q.run_id is null then null else clock_timestamp() end,
    error = $5
from runs e
left join runs q
    on q.metric_id = e.metric_id and q.bucket_size = e.bucket_size and q.chain = e.chain
    and q.bucket_start = e.bucket_start and q.state = 'queued'
where e.run_id = r.run_id
  and r.lease = $1
