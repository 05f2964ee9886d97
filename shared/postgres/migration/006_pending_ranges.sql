-- Ranges of a stream that a function's buckets lack, until runs have computed the windows concerned from the archive.

create table pending_ranges (
    function    text collate "C" not null,
    stream      text collate "C" not null,
    metric_id   bigint references metric_registry on delete cascade,
    after_id    text collate "C" not null,
    until_id    text collate "C" not null,
    recorded_at timestamptz not null default now(),
    unique nulls not distinct (function, stream, metric_id, after_id)
);

comment on table pending_ranges is
    'Entries that a function has passed without counting them. Runs are requested of the windows concerned once the archive '
    'has the entries. Until then, where metric_id is null, no window of the function on the stream is computed.';
comment on column pending_ranges.metric_id is 'The metric whose buckets lack them; null: every metric of the function.';
comment on column pending_ranges.after_id is 'The last entry that was counted; 0-0: none was.';
comment on column pending_ranges.until_id is 'The last entry that was not.';
