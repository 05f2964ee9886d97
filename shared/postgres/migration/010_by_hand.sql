-- What people do by hand: they pause metrics, clear windows, import what the streams do not bring.

alter table metric_registry add column paused_at timestamptz;

comment on column metric_registry.paused_at is
    'Since when no run of it is requested because it is due, and none that is queued is begun; null where it is not paused. The '
    'streams go on.';

create or replace view claimable_runs as
select r.run_id, r.metric_id, m.type, r.bucket_size, r.chain, r.bucket_start, r.attempt
from runs r
join metric_registry m using (metric_id)
where r.state = 'queued'
  and r.not_before <= clock_timestamp()
  and m.deleted_at is null
  and m.paused_at is null
  and not exists (
      select
      from runs o
      where o.metric_id = r.metric_id
        and o.bucket_size = r.bucket_size
        and o.chain = r.chain
        and o.bucket_start = r.bucket_start
        and o.state = 'running'
  )
  and not (
      coalesce((m.definition ->> 'depends_on_past')::boolean, false)
      and exists (
          select
          from runs o
          where o.metric_id = r.metric_id
            and o.bucket_size = r.bucket_size
            and o.chain = r.chain
            and o.bucket_start < r.bucket_start
            and (
                o.state = 'running'
                or o.state = 'queued' and o.not_before > clock_timestamp()
                or o.state = 'failed' and not exists (
                    select
                    from runs l
                    where l.metric_id = o.metric_id
                      and l.bucket_size = o.bucket_size
                      and l.chain = o.chain
                      and l.bucket_start = o.bucket_start
                      and l.run_id > o.run_id
                )
            )
      )
  );

comment on view claimable_runs is
    'Queued runs that may be begun: those of a metric that is paused wait, a window that is being computed, and where the metric '
    'depends on the past, windows after one that is not computed, or whose newest run has failed.';

alter table runs
    drop constraint runs_reason_check,
    add constraint runs_reason_check
        check (reason in ('due', 'history', 'backfill', 'reverted', 'late', 'passed', 'cleared', 'imported'));

comment on column runs.reason is
    'due: the window has ended; history: the metric, or its calculation, is newer than the window; backfill: a person has asked; '
    'reverted: a reorganisation has taken back some of its events; late: an event has come after it was final; '
    'passed: its function has passed over some of its events; cleared: a person doubts it; imported: events of it were imported.';
