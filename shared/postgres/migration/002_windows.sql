-- How many sets of dimensions each window holds, so that a definition can limit them.

create table windows (
    metric_id    bigint not null references metric_registry on delete cascade,
    bucket_size  text collate "C" not null,
    bucket_start timestamptz not null,
    chain        text collate "C" not null,
    sets         bigint not null check (sets >= 0),
    primary key (metric_id, bucket_size, bucket_start, chain)
) with (fillfactor = 50);

comment on table windows is
    'Windows of metrics with dimensions. One without a row was written before this table was made: its buckets are counted.';
comment on column windows.bucket_start is 'The window contains its start.';
comment on column windows.sets is 'How many buckets the window holds on the chain: one for each set of dimensions.';
