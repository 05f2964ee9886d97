-- Runs that have had no result by the deadline of their metric, each once. What is paused waits on purpose.
with late as (
    update runs r
    set late_at = clock_timestamp()
    from metric_registry m
    where m.metric_id = r.metric_id
      and m.deleted_at is null
      and m.paused_at is null
      and m.definition ? 'deadline'
      and r.state in ('queued', 'running')
      and r.late_at is null
      and r.requested_at + (m.definition ->> 'deadline')::interval < clock_timestamp()
    returning r.run_id, r.bucket_size, r.bucket_start, r.chain, m.name, m.type, m.definition ->> 'complexity' as complexity,
              r.requested_at + (m.definition ->> 'deadline')::interval as deadline
)
insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, run_id, details)
select 'dev.chainmetrics.run.late.v1', name, type, complexity, bucket_size, bucket_start, chain, run_id,
       jsonb_build_object('deadline', to_char(deadline at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
from late
order by run_id
