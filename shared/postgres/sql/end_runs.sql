-- Where a run is to be begun again, and its window was queued meanwhile, that one takes its place. That another attempt follows is told
-- where the metric asks for it.
with ended as (
    update runs r
    set state = case when $2 = 'queued' and q.run_id is not null then 'failed' else $2 end,
        lease = null,
        lease_until = null,
        attempt = r.attempt - $4,
        not_before = clock_timestamp() + $3,
        finished_at = case when $2 = 'queued' and q.run_id is null then null else clock_timestamp() end,
        error = $5
    from runs e
    left join lateral (
        select i.run_id
        from runs i
        where i.metric_id = e.metric_id
          and i.bucket_size = e.bucket_size
          and i.chain = e.chain
          and i.bucket_start = e.bucket_start
          and i.state = 'queued'
        limit 1
    ) q on true
    where e.run_id = r.run_id
      and r.lease = $1
    returning r.run_id, r.metric_id, r.bucket_size, r.bucket_start, r.chain, r.reason, r.attempt, r.error, r.not_before, r.state
)
insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, run_id, details)
select case when $2 = 'failed' then 'dev.chainmetrics.run.failed.v1' else 'dev.chainmetrics.run.retried.v1' end,
       m.name, m.type, m.definition ->> 'complexity', e.bucket_size, e.bucket_start, e.chain, e.run_id,
       jsonb_build_object('reason', e.reason, 'attempt', e.attempt, 'error', e.error)
           || case when $2 = 'queued' then next_attempt(e.not_before) else '{}' end
from ended e
join metric_registry m using (metric_id)
where $2 = 'failed' or e.state = 'queued' and $4 = 0 and m.definition -> 'email_on_retry' = 'true'
