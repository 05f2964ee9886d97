-- The tables of the stream path: definitions, buckets, progress, and what went wrong.
--
-- Texts that stand in keys have collation "C": byte order, which no upgrade of the system's libraries changes.
-- Entry ids have Redis's form, <major>-<minor>, both in decimal; text order is not their order.

-- Metrics -------------------------------------------------------------------------------------------------------------

create table metric_registry (
    metric_id  bigint generated always as identity primary key,
    name       text collate "C" not null check (name <> ''),
    type       text collate "C" not null check (type <> ''),
    version    integer not null default 1 check (version > 0),
    definition jsonb not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);

create unique index metric_registry_name on metric_registry (name) where deleted_at is null;

comment on table metric_registry is 'What is measured: one row per metric, in its newest version.';
comment on column metric_registry.metric_id is 'Stands for the metric in all other tables; never used twice.';
comment on column metric_registry.name is 'Unique among metrics that are not deleted.';
comment on column metric_registry.type is 'Metric type, which is also the name of its function: counter, ...';
comment on column metric_registry.version is 'Counts the changes of the definition, from 1.';
comment on column metric_registry.definition is 'The definition in JSON, with the field names of the YAML form.';
comment on column metric_registry.deleted_at is
    'Set when the metric was deleted. The row goes when the last of its buckets has gone.';

create table metric_versions (
    metric_id  bigint not null references metric_registry on delete cascade,
    version    integer not null,
    definition jsonb not null,
    created_at timestamptz not null default now(),
    primary key (metric_id, version)
);

comment on table metric_versions is 'Every definition that a metric has had.';

create table metric_since (
    metric_id bigint not null references metric_registry on delete cascade,
    stream    text collate "C" not null,
    entry_id  text collate "C" not null,
    primary key (metric_id, stream)
);

comment on table metric_since is
    'Metrics that came to a stream after it was begun. A metric without a row counts a stream from its first entry.';
comment on column metric_since.entry_id is 'The metric counts what lies after this entry.';

-- Buckets -------------------------------------------------------------------------------------------------------------

create table metrics_data (
    metric_id    bigint not null,
    bucket_size  text collate "C" not null,
    bucket_start timestamptz not null,
    bucket_end   timestamptz not null,
    chain        text collate "C" not null,
    dimensions   text collate "C" not null check (jsonb_typeof(dimensions::jsonb) = 'object'),
    value        numeric not null,
    value_json   jsonb,
    state        bytea not null,
    generation   bigint not null default 0,
    updated_at   timestamptz not null default now(),
    primary key (metric_id, bucket_size, bucket_start, chain, dimensions)
) partition by list (bucket_size);

comment on table metrics_data is
    'Buckets: what a metric holds for one window, chain and set of dimensions. Read them through metric_buckets.';
comment on column metrics_data.metric_id is
    'Row of metric_registry. No foreign key: its check would cost every new bucket a query.';
comment on column metrics_data.bucket_size is 'minutely, 10-minutely, hourly, daily, weekly (from Monday), monthly; UTC.';
comment on column metrics_data.bucket_start is 'The window contains its start.';
comment on column metrics_data.bucket_end is 'The window does not contain its end.';
comment on column metrics_data.dimensions is
    'JSON object of strings; {} for a metric without dimensions. Text in one form, names sorted and without white space: '
    'the order of jsonb depends on the collation of the database, and a key''s must not.';
comment on column metrics_data.value is 'Exact, in the unit of the metric.';
comment on column metrics_data.value_json is 'What the metric type shows besides the value; null where that is nothing.';
comment on column metrics_data.state is 'The mergeable aggregate behind the value, in the encoding of the metric type.';
comment on column metrics_data.generation is 'The rebuild on which the state is based; 0 for none.';

-- A partition per size, and below it one per range of bucket_start, which the functions add as they need them. There is
-- no default partition, because adding another one would then have to lock and read it.
create table metrics_data_minutely partition of metrics_data
    for values in ('minutely') partition by range (bucket_start);
create table metrics_data_10_minutely partition of metrics_data
    for values in ('10-minutely') partition by range (bucket_start);
create table metrics_data_hourly partition of metrics_data
    for values in ('hourly') partition by range (bucket_start);
create table metrics_data_daily partition of metrics_data
    for values in ('daily') partition by range (bucket_start);
create table metrics_data_weekly partition of metrics_data
    for values in ('weekly') partition by range (bucket_start);
create table metrics_data_monthly partition of metrics_data
    for values in ('monthly') partition by range (bucket_start);

comment on table metrics_data_minutely is 'A partition per month: metrics_data_minutely_2009_01.';
comment on table metrics_data_10_minutely is 'A partition per year: metrics_data_10_minutely_2009.';
comment on table metrics_data_hourly is 'A partition per year: metrics_data_hourly_2009.';
comment on table metrics_data_daily is 'A partition per decade: metrics_data_daily_2000s.';
comment on table metrics_data_weekly is 'A partition per decade: metrics_data_weekly_2000s.';
comment on table metrics_data_monthly is 'A partition per decade: metrics_data_monthly_2000s.';

create function add_metrics_data_partition(
    size text, parent text, partition text, range_start timestamptz, range_end timestamptz
) returns void
language plpgsql
set timezone = 'UTC'
set datestyle = 'ISO'
as $$
declare
    wanted text := format('FOR VALUES FROM (%L) TO (%L)', range_start, range_end);
    actual text;
begin
    perform pg_advisory_xact_lock(hashtextextended('metrics_data partitions', 0));
    select pg_get_expr(relpartbound, oid) into actual
    from pg_class
    where oid = to_regclass(quote_ident(partition)) and relispartition;
    if actual is distinct from null then
        if actual <> wanted then
            raise exception 'partition % holds other windows: % instead of %', partition, actual, wanted;
        end if;
        return;
    end if;
    execute format('create table if not exists %I (like %I including all) with (fillfactor = 90)', partition, parent);
    execute format(
        'alter table %I add constraint range_to_attach '
        'check (bucket_size = %L and bucket_start >= %L and bucket_start < %L)',
        partition, size, range_start, range_end
    );
    execute format('alter table %I attach partition %I %s', parent, partition, wanted);
    execute format('alter table %I drop constraint range_to_attach', partition);
end
$$;

comment on function add_metrics_data_partition is
    'Adds a range of windows to one of the partitions by size; does nothing where it is there. '
    'LIKE and ATTACH wait for no reader or writer of metrics_data, CREATE ... PARTITION OF waits for all of them. '
    'The constraint spares a partition that was detached before, and holds rows, another reading.';

create view metric_buckets as
select r.name as metric,
       d.chain,
       d.bucket_size,
       d.bucket_start,
       d.bucket_end,
       d.dimensions::jsonb as dimensions,
       d.value,
       d.value_json,
       false as final
from metrics_data d
join metric_registry r using (metric_id)
where r.deleted_at is null;

comment on view metric_buckets is
    'Buckets by the name of their metric. Name a bucket_size: a metric has the same events in every one of its sizes.';
comment on column metric_buckets.metric is 'Name of the metric; its definition is in metric_registry.';
comment on column metric_buckets.bucket_start is 'The window contains its start.';
comment on column metric_buckets.bucket_end is 'The window does not contain its end.';
comment on column metric_buckets.dimensions is 'Object of strings: dimensions->>''name''.';
comment on column metric_buckets.value is 'Exact, in the unit of the metric.';
comment on column metric_buckets.value_json is 'What the metric type shows besides the value.';
comment on column metric_buckets.final is 'Whether history has confirmed the window. Until then later events may change it.';

-- Streams -------------------------------------------------------------------------------------------------------------

create table streams (
    name          text collate "C" primary key,
    mode          text not null check (mode in ('feed', 'open')),
    chain         text collate "C",
    registered_at timestamptz not null default now(),
    check (mode <> 'feed' or chain is not null)
);

comment on table streams is 'The Redis streams that are known.';
comment on column streams.mode is 'feed: one program writes it, with ids that it chooses; open: any producer, ids by Redis.';
comment on column streams.chain is 'The chain of a feed; null where the stream may hold several.';

create table stream_types (
    chain      text collate "C" not null,
    event_type text collate "C" not null,
    stream     text collate "C" not null,
    claimed_at timestamptz not null default now(),
    primary key (chain, event_type)
);

comment on table stream_types is
    'The one stream to which the events of a chain and type belong: the first in which they were met. '
    'Elsewhere they are dead letters.';

create sequence registry_version;

comment on sequence registry_version is
    'Gives stream_watermarks.version. One sequence for all rows, so that a row made anew never repeats a version.';

create table stream_watermarks (
    function     text collate "C" not null,
    stream       text collate "C" not null,
    entry_id     text collate "C" not null default '0-0',
    content_hash text not null default '',
    version      bigint not null default nextval('registry_version'),
    updated_at   timestamptz not null default now(),
    primary key (function, stream)
) with (fillfactor = 50);

comment on table stream_watermarks is
    'How far each function has applied each stream. Moves in the transaction that stores the effects.';
comment on column stream_watermarks.entry_id is 'The last entry applied; 0-0 before the first.';
comment on column stream_watermarks.content_hash is 'The content hash of that entry.';
comment on column stream_watermarks.version is
    'Changes with every change of the definitions that concern the stream: a function that knows another must reload.';

create table stream_holes (
    function    text collate "C" not null,
    stream      text collate "C" not null,
    after_id    text collate "C" not null,
    next_id     text collate "C" not null,
    removed     bigint not null,
    first_id    text collate "C" not null,
    reason      text not null,
    accepted_at timestamptz not null default now(),
    primary key (function, stream, after_id)
);

comment on table stream_holes is 'Losses of stream entries that a person has accepted.';
comment on column stream_holes.after_id is 'The last entry before the loss.';
comment on column stream_holes.next_id is 'The entry that may follow it, although others were between the two.';
comment on column stream_holes.removed is
    'How many entries the stream had lost by then, in all: Redis tells only the last place. More are another loss.';
comment on column stream_holes.first_id is 'The first entry of the stream then. While it is that, nothing was trimmed.';

-- What went wrong -----------------------------------------------------------------------------------------------------

create table dead_letters (
    stream         text collate "C" not null,
    entry_id       text collate "C" not null,
    reason         text not null,
    content        bytea not null,
    content_length bigint not null,
    recorded_at    timestamptz not null default now(),
    primary key (stream, entry_id)
);

comment on table dead_letters is 'Stream entries that cannot be read. No function applied them.';
comment on column dead_letters.content is
    'The data of the entry''s CloudEvent, JSON as it was delivered, the first MiB of it: convert_from(content, ''UTF8''). '
    'Bytes, since jsonb refuses some of what JSON allows.';
comment on column dead_letters.content_length is 'Bytes of the whole content; where content has fewer it was cut.';

create table metric_errors (
    metric_id       bigint not null references metric_registry on delete cascade,
    stream          text collate "C" not null,
    reason          text collate "C" not null,
    count           bigint not null check (count > 0),
    sample_entry_id text not null,
    first_seen      timestamptz not null default now(),
    last_seen       timestamptz not null default now(),
    primary key (metric_id, stream, reason)
);

comment on table metric_errors is 'Events for which a metric could not be evaluated. They are in none of its buckets.';
comment on column metric_errors.count is 'How many events.';
comment on column metric_errors.sample_entry_id is 'The newest entry that holds such an event.';

create table pending_reverts (
    function        text collate "C" not null,
    stream          text collate "C" not null,
    entry_id        text collate "C" not null,
    ancestor_id     text not null,
    ancestor_number numeric(20, 0) not null,
    ancestor_hash   text not null,
    recorded_at     timestamptz not null default now(),
    primary key (function, stream, entry_id)
);

comment on table pending_reverts is
    'Reorganisations whose events the function''s buckets still hold: everything after the ancestor and before the entry.';
comment on column pending_reverts.entry_id is 'The revert entry.';
comment on column pending_reverts.ancestor_id is 'The last entry that stays.';
comment on column pending_reverts.ancestor_number is 'Its height.';
comment on column pending_reverts.ancestor_hash is 'Its block hash.';
