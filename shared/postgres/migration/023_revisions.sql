-- Revisions: what was published, and has changed since.

alter table windows add column finalized_at timestamptz;

comment on column windows.finalized_at is
    'When the window was final for the first time. Null where final: when is not known, since functions of before this column have made '
    'it final; null otherwise: it never was. -infinity: it was, when is not known.';

create table bucket_revisions (
    revision_id    bigint generated always as identity primary key,
    metric_id      bigint not null,
    bucket_size    text collate "C" not null,
    bucket_start   timestamptz not null,
    bucket_end     timestamptz not null,
    chain          text collate "C" not null,
    dimensions     text collate "C" not null,
    reason         text not null check (reason in ('late', 'reverted', 'imported', 'definition', 'drift', 'cleared')),
    run_id         bigint,
    old_value      numeric,
    old_value_json jsonb,
    new_value      numeric,
    new_value_json jsonb,
    revised_at     timestamptz not null default clock_timestamp()
);

create index bucket_revisions_bucket
    on bucket_revisions (metric_id, bucket_size, bucket_start, chain, dimensions, revision_id);

comment on table bucket_revisions is
    'Every change of what a bucket showed, from the first time on that its window was final.';
comment on column bucket_revisions.metric_id is 'Row of metric_registry. No foreign key, as in metrics_data.';
comment on column bucket_revisions.reason is
    'late: the stream has brought an event after the window was final, also of a new branch; reverted: a reorganisation took events back; imported: events were imported '
    'into the archive; definition: the metric calculates otherwise; cleared: a person has had it computed again; drift: it was '
    'not the state of its events, and nothing explains that.';
comment on column bucket_revisions.run_id is 'The run that has changed it; null where the stream has.';
comment on column bucket_revisions.old_value is 'Null where there was no bucket.';
comment on column bucket_revisions.new_value is 'Null where there is none any more.';
comment on column bucket_revisions.revised_at is 'When it was written, a moment before others saw it.';

create function revision_reason(of_run text, of_metric bigint, of_size text, of_chain text, of_window timestamptz) returns text
language sql stable
as $$
    select case
               when e.reason in ('reverted', 'imported') then e.reason
               when e.reason = 'passed' then 'late'
               when e.reason = 'history' then 'definition'
               when of_run = 'cleared' then 'cleared'
               else 'drift'
           end
    from (
        select case
                   when explains_changes(of_run) then of_run
                   else (
                       select q.reason
                       from runs q
                       where q.metric_id = of_metric
                         and q.bucket_size = of_size
                         and q.chain = of_chain
                         and q.bucket_start = of_window
                         and q.state = 'queued'
                         and explains_changes(q.reason)
                   )
               end as reason
    ) e
$$;

comment on function revision_reason is
    'Why a run revises buckets of a window: by what it was requested for or, where that explains no change, by what has happened meanwhile '
    'and has queued another run.';

create function metric_buckets_at(at timestamptz) returns setof metric_buckets
language sql stable
as $$
    select r.name, d.chain, d.bucket_size, d.bucket_start, d.bucket_end, d.dimensions::jsonb,
           case when v.revision_id is null then d.value else v.old_value end,
           case when v.revision_id is null then d.value_json else v.old_value_json end,
           true
    from metrics_data d
    join metric_registry r using (metric_id)
    join windows w using (metric_id, bucket_size, bucket_start, chain)
    left join lateral (
        select b.revision_id, b.old_value, b.old_value_json
        from bucket_revisions b
        where b.metric_id = d.metric_id
          and b.bucket_size = d.bucket_size
          and b.bucket_start = d.bucket_start
          and b.chain = d.chain
          and b.dimensions = d.dimensions
          and b.revised_at > at
        order by b.revision_id
        limit 1
    ) v on true
    where r.deleted_at is null
      and (w.finalized_at <= at or w.finalized_at is null and w.final)
      and (v.revision_id is null or v.old_value is not null)
    union all
    select r.name, g.chain, g.bucket_size, g.bucket_start, g.bucket_end, g.dimensions::jsonb, g.old_value, g.old_value_json, true
    from bucket_revisions g
    join metric_registry r using (metric_id)
    join windows w using (metric_id, bucket_size, bucket_start, chain)
    where r.deleted_at is null
      and (w.finalized_at <= at or w.finalized_at is null and w.final)
      and g.revised_at > at
      and g.old_value is not null
      and not exists (
          select
          from metrics_data d
          where d.metric_id = g.metric_id
            and d.bucket_size = g.bucket_size
            and d.bucket_start = g.bucket_start
            and d.chain = g.chain
            and d.dimensions = g.dimensions
      )
      and not exists (
          select
          from bucket_revisions e
          where e.metric_id = g.metric_id
            and e.bucket_size = g.bucket_size
            and e.bucket_start = g.bucket_start
            and e.chain = g.chain
            and e.dimensions = g.dimensions
            and e.revision_id < g.revision_id
            and e.revised_at > at
      )
$$;

comment on function metric_buckets_at is
    'The buckets that were shown at a moment of the windows that had been published by then, each called final, though it may have been '
    'open again. Whoever gives metric_buckets another column has to make this function again.';
