-- Claims that have run out: their windows are queued again, unless they are already, or were begun too often.
update runs r
set state = case when q.run_id is null and r.attempt <= $1 then 'queued' else 'failed' end,
    lease = null,
    lease_until = null,
    not_before = clock_timestamp() + interval '10 s',
    finished_at = case when q.run_id is null and r.attempt <= $1 then null else clock_timestamp() end,
    error = 'the process that had begun it has not ended it in time'
from runs e
left join runs q
    on q.metric_id = e.metric_id and q.bucket_size = e.bucket_size and q.chain = e.chain
    and q.bucket_start = e.bucket_start and q.state = 'queued'
where e.run_id = r.run_id
  and r.state = 'running'
  and r.lease_until < clock_timestamp()
