-- How many sets of dimensions each window holds, so that a definition can limit them.

create table windows (
    metric_id    bigint not null,
    bucket_size  text collate "C" not null,
    bucket_start timestamptz not null,
    chain        text collate "C" not null,
    sets         bigint not null check (sets > 0),
    primary key (metric_id, bucket_size, bucket_start, chain)
) with (fillfactor = 50);

comment on table windows is
    'Windows of metrics with a limit on sets of dimensions. The buckets of one without a row are counted when the next come. '
    'While functions run that do not know this table, those that do may let in more than the limit.';
comment on column windows.metric_id is
    'Row of metric_registry. No foreign key: its check would cost as much as the row.';
comment on column windows.bucket_start is 'The window contains its start.';
comment on column windows.sets is
    'How many buckets the window holds on the chain: one for each set of dimensions. Means nothing where it holds none.';

comment on table metric_errors is
    'What a metric could not count: it is in none of its buckets or, where a window was full, not in that window.';
comment on column metric_errors.count is 'How many events; of full windows, how many observations.';
