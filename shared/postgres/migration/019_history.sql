-- How far the history of a metric, and what its function has passed over, was requested: rows tell, and change with the runs.

alter table schedules add column history_until timestamptz;

comment on column schedules.requested_until is 'The start of the first window that was not; -infinity: none was.';
comment on column schedules.history_until is
    'While runs of windows that are older than the metric, or its calculation, are being requested: all that begin before were. '
    'Null: that is done.';

comment on column pending_ranges.after_id is
    'The last entry that was counted, or whose windows were requested; 0-0: none was.';

create index imported_entries_reverted on imported_entries (stream, reverted_by_major, reverted_by_minor)
    where reverted_by_major is not null;
