-- Runs that have had no result by the deadline of their metric, each once. What is paused waits on purpose.
with timed as (
    select m.metric_id, m.name, m.type, m.definition ->> 'complexity' as complexity,
           (m.definition ->> 'deadline')::interval as deadline
    from metric_registry m
    where m.deleted_at is null and m.paused_at is null and m.definition ? 'deadline'
), due as (
    select r.run_id
    from timed t
    join runs r on r.metric_id = t.metric_id and r.state = 'queued'
    where r.late_at is null and r.requested_at + t.deadline < clock_timestamp()
    union all
    select r.run_id
    from timed t
    join runs r on r.metric_id = t.metric_id and r.state = 'running'
    where r.late_at is null and r.requested_at + t.deadline < clock_timestamp()
), late as (
    update runs r
    set late_at = clock_timestamp()
    from due d, timed t
    where r.run_id = d.run_id and t.metric_id = r.metric_id and r.state in ('queued', 'running')
    returning r.run_id, r.bucket_size, r.bucket_start, r.chain, t.name, t.type, t.complexity,
              r.requested_at + t.deadline as deadline
)
insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, run_id, details)
select 'dev.chainmetrics.run.late.v1', name, type, complexity, bucket_size, bucket_start, chain, run_id,
       jsonb_build_object('deadline', to_char(deadline at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
from late
order by run_id
