-- Claims that have run out: their windows are queued again, unless they are already, or were begun too often.
update runs r
set state = case when e.again then 'queued' else 'failed' end,
    lease = null,
    lease_until = null,
    not_before = clock_timestamp() + interval '10 s',
    finished_at = case when e.again then null else clock_timestamp() end,
    error = 'the process that had begun it has not ended it in time'
from (
    select x.run_id, q.run_id is null and x.attempt <= coalesce((m.definition ->> 'retries')::integer, $1) as again
    from runs x
    join metric_registry m using (metric_id)
    left join runs q
        on q.metric_id = x.metric_id and q.bucket_size = x.bucket_size and q.chain = x.chain
        and q.bucket_start = x.bucket_start and q.state = 'queued'
    where x.state = 'running' and x.lease_until < clock_timestamp()
) e
where e.run_id = r.run_id
  and r.state = 'running'
  and r.lease_until < clock_timestamp()
