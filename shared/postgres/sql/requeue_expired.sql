-- Claims that have run out: their windows are queued again, unless they are already, or were begun too often. That another
-- attempt follows is told where the metric asks for it.
with expired as (
    select x.run_id, q.run_id is not null as replaced, x.attempt <= coalesce((m.definition ->> 'retries')::integer, $1) as may
    from runs x
    join metric_registry m using (metric_id)
    left join lateral (
        select i.run_id
        from runs i
        where i.metric_id = x.metric_id
          and i.bucket_size = x.bucket_size
          and i.chain = x.chain
          and i.bucket_start = x.bucket_start
          and i.state = 'queued'
        limit 1
    ) q on true
    where x.state = 'running' and x.lease_until < clock_timestamp()
), ended as (
    update runs r
    set state = case when e.may and not e.replaced then 'queued' else 'failed' end,
        lease = null,
        lease_until = null,
        not_before = clock_timestamp() + interval '10 s',
        finished_at = case when e.may and not e.replaced then null else clock_timestamp() end,
        error = 'the process that had begun it has not ended it in time'
    from expired e
    where e.run_id = r.run_id
      and r.state = 'running'
      and r.lease_until < clock_timestamp()
    returning r.run_id, r.metric_id, r.bucket_size, r.bucket_start, r.chain, r.reason, r.attempt, r.error,
              r.not_before, r.state, not e.may and not e.replaced as for_good
)
insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, run_id, details)
select case when e.for_good then 'dev.chainmetrics.run.failed.v1' else 'dev.chainmetrics.run.retried.v1' end,
       m.name, m.type, m.definition ->> 'complexity', e.bucket_size, e.bucket_start, e.chain, e.run_id,
       jsonb_build_object('reason', e.reason, 'attempt', e.attempt, 'error', e.error)
           || case when e.for_good then '{}' else next_attempt(e.not_before) end
from ended e
join metric_registry m using (metric_id)
where e.for_good or e.state = 'queued' and m.definition -> 'email_on_retry' = 'true'
