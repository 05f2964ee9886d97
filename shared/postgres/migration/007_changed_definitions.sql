-- Definitions that change while their metrics have buckets.

alter table metric_registry
    add column oldest_generation bigint not null default 0,
    add column calculation_version integer not null default 1;

comment on column metric_registry.oldest_generation is
    'Buckets whose generation is older were made by another calculation. They are shown until the window is computed again; the '
    'stream changes nothing in them.';
comment on column metric_registry.calculation_version is
    'The version that brought the present calculation. Windows that were computed under an older one are final no longer.';

-- What a metric that came to a stream after it had begun lacks is requested from the archive.
insert into pending_ranges (function, stream, metric_id, after_id, until_id)
select r.type, s.stream, s.metric_id, '0-0', s.entry_id
from metric_since s
join metric_registry r using (metric_id)
where r.deleted_at is null;

drop table metric_since;

create or replace view metric_buckets as
select r.name as metric,
       d.chain,
       d.bucket_size,
       d.bucket_start,
       d.bucket_end,
       d.dimensions::jsonb as dimensions,
       d.value,
       d.value_json,
       coalesce(w.final and w.base_version >= r.calculation_version, false) as final
from metrics_data d
join metric_registry r using (metric_id)
left join windows w using (metric_id, bucket_size, bucket_start, chain)
where r.deleted_at is null;

alter table runs
    drop constraint runs_reason_check,
    add constraint runs_reason_check check (reason in ('due', 'history', 'backfill', 'reverted', 'late'));

comment on column runs.reason is
    'due: the window has ended; history: the metric, or its calculation, is newer than the window; backfill: a person has asked; '
    'reverted: a reorganisation has taken back some of its events; late: an event has come after it was final.';

create view claimable_runs as
select r.run_id, r.metric_id, m.type, r.bucket_size, r.chain, r.bucket_start, r.attempt
from runs r
join metric_registry m using (metric_id)
where r.state = 'queued'
  and r.not_before <= clock_timestamp()
  and m.deleted_at is null
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
    'Queued runs that may be begun: a window that is being computed waits, and where the metric depends on the past, those after '
    'one that is not computed, or whose newest run has failed.';

comment on column runs.observations is
    'How many observations of archived events went into the window; null where it was made of the windows of a smaller size.';
