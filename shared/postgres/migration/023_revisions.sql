-- Revisions: what was published, and has changed since.

alter table windows add column finalized_at timestamptz;

comment on column windows.finalized_at is
    'When the window was final for the first time; null: it never was, or functions of before this column have made it final.';

update windows set finalized_at = now() where final;

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
    'late: an event came after the window was final; reverted: a reorganisation took events back; imported: events were imported '
    'into the archive; definition: the metric calculates otherwise; cleared: a person has had it computed again; drift: it was '
    'not the state of its events, and nothing explains that.';
comment on column bucket_revisions.run_id is 'The run that has changed it; null where the stream has.';
comment on column bucket_revisions.old_value is 'Null where there was no bucket.';
comment on column bucket_revisions.new_value is 'Null where there is none any more.';
comment on column bucket_revisions.revised_at is 'When it was written, a moment before others saw it.';

create function revision_reason(run_reason text) returns text
language sql immutable
as $$
    select case
               when run_reason in ('late', 'reverted', 'imported', 'cleared') then run_reason
               when run_reason = 'passed' then 'late'
               when run_reason = 'history' then 'definition'
               else 'drift'
           end
$$;

comment on function revision_reason is 'Why a bucket is revised by a run, by what the run was requested for.';

create function metric_buckets_at(at timestamptz) returns table (
    metric       text,
    chain        text,
    bucket_size  text,
    bucket_start timestamptz,
    bucket_end   timestamptz,
    dimensions   jsonb,
    value        numeric,
    value_json   jsonb,
    final        boolean
)
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
      and coalesce(w.finalized_at, case when w.final then '-infinity'::timestamptz end) <= at
      and (v.revision_id is null or v.old_value is not null)
    union all
    select r.name, g.chain, g.bucket_size, g.bucket_start, g.bucket_end, g.dimensions::jsonb, g.old_value, g.old_value_json, true
    from bucket_revisions g
    join metric_registry r using (metric_id)
    join windows w using (metric_id, bucket_size, bucket_start, chain)
    where r.deleted_at is null
      and w.finalized_at <= at
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
    'The buckets as they were shown at a moment, of the windows that had been final by then.';
