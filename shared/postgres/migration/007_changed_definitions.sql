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

create function blocked_from(of_metric bigint, of_size text, of_chain text) returns timestamptz
language sql stable
as $$
    select least(
        (
            select min(bucket_start)
            from runs
            where metric_id = of_metric and bucket_size = of_size and chain = of_chain and state = 'running'
        ),
        (
            select min(bucket_start)
            from runs
            where metric_id = of_metric
              and bucket_size = of_size
              and chain = of_chain
              and state = 'queued'
              and not_before > clock_timestamp()
        ),
        (
            select min(f.bucket_start)
            from runs f
            where f.metric_id = of_metric
              and f.bucket_size = of_size
              and f.chain = of_chain
              and f.state = 'failed'
              and not exists (
                  select
                  from runs l
                  where l.metric_id = f.metric_id
                    and l.bucket_size = f.bucket_size
                    and l.chain = f.chain
                    and l.bucket_start = f.bucket_start
                    and (l.run_id > f.run_id or l.state = 'succeeded' and l.finished_at > f.finished_at)
              )
        )
    )
$$;

comment on function blocked_from is
    'The first window that is being computed, waits for another attempt, or has failed without another run since; null: there is '
    'none. What depends on the past and lies after it waits.';

create index runs_failed_window on runs (metric_id, bucket_size, chain, bucket_start) where state = 'failed';

comment on column runs.observations is
    'How many observations of archived events went into the window; null where it was made of the windows of a smaller size.';
