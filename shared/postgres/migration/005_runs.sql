-- Runs: when windows were computed from the archive, and how that went.

alter table stream_watermarks add column low_water timestamptz not null default '-infinity';

comment on column stream_watermarks.low_water is
    'Up to this chain time the entries that the function has applied hold everything that is expected.';

alter table windows add column final boolean not null default false;

comment on column windows.final is 'Whether the archive has confirmed its buckets after all that belongs to it had come.';

create table schedules (
    metric_id       bigint not null references metric_registry on delete cascade,
    bucket_size     text collate "C" not null,
    chain           text collate "C" not null,
    requested_until timestamptz not null,
    primary key (metric_id, bucket_size, chain)
);

comment on table schedules is 'How far the windows of a metric were due, and runs of them requested.';
comment on column schedules.requested_until is 'The start of the first window that was not.';

create sequence run_lease;

comment on sequence run_lease is 'Gives runs.lease.';

create table runs (
    run_id             bigint generated always as identity primary key,
    metric_id          bigint not null references metric_registry on delete cascade,
    bucket_size        text collate "C" not null,
    bucket_start       timestamptz not null,
    chain              text collate "C" not null,
    reason             text not null check (reason in ('due', 'backfill', 'reverted', 'late')),
    state              text not null default 'queued' check (state in ('queued', 'running', 'succeeded', 'failed', 'skipped')),
    attempt            integer not null default 0,
    lease              bigint,
    lease_until        timestamptz,
    not_before         timestamptz not null default now(),
    requested_at       timestamptz not null default now(),
    started_at         timestamptz,
    finished_at        timestamptz,
    observations       bigint,
    buckets            bigint,
    changes            bigint,
    error              text,
    definition_version integer,
    code_version       text,
    check ((state = 'running') = (lease is not null))
);

create unique index runs_queued on runs (metric_id, bucket_size, chain, bucket_start) where state = 'queued';
create unique index runs_running on runs (metric_id, bucket_size, chain, bucket_start) where state = 'running';
create index runs_turn on runs (metric_id, bucket_size, run_id) where state = 'queued';
create index runs_lease on runs (lease) where lease is not null;
create index runs_window on runs (metric_id, bucket_size, bucket_start);
create index runs_failed on runs (finished_at) where state = 'failed';

comment on table runs is
    'Computations of a window from the archive: at most one that is queued and one that is running for each metric, bucket size, '
    'window and chain.';
comment on column runs.reason is
    'due: the window has ended; backfill: a person has asked; reverted: a reorganisation has taken back some of its events; '
    'late: an event has come after it was final.';
comment on column runs.attempt is 'How often it was begun.';
comment on column runs.lease is 'Of the attempt that is under way, and of the windows beside it; every write verifies it.';
comment on column runs.not_before is 'When it may be begun: after a failure later and later.';
comment on column runs.observations is 'How many observations of archived events went into the window.';
comment on column runs.buckets is 'How many buckets the window has.';
comment on column runs.changes is 'How many of them were not the state of their events, and were put right.';
comment on column runs.error is 'Why the last attempt has failed, or why the window was skipped.';

create or replace view metric_buckets as
select r.name as metric,
       d.chain,
       d.bucket_size,
       d.bucket_start,
       d.bucket_end,
       d.dimensions::jsonb as dimensions,
       d.value,
       d.value_json,
       coalesce(w.final, false) as final
from metrics_data d
join metric_registry r using (metric_id)
left join windows w using (metric_id, bucket_size, bucket_start, chain)
where r.deleted_at is null;
