-- Runs tell what they were requested for, and in which trace they were carried out.

alter table runs
    drop constraint runs_reason_check,
    add constraint runs_reason_check check (
        reason in ('due', 'history', 'backfill', 'cleared', 'reverted', 'late', 'passed', 'imported', 'corrected')
    ),
    add column trace_id text;

comment on column runs.reason is
    'due: the window has ended; history: the metric, or its calculation, is newer than the window; backfill: a person has asked; '
    'cleared: a person doubts it; reverted: a reorganisation has taken back some of its events; late: an event has come after it '
    'was final; passed: its function has passed over some of its events; imported: events of it were imported; corrected: a '
    'smaller window, of which it may have been made, was put right.';
comment on column runs.trace_id is
    'The trace of the request that has carried out the last attempt, as in a traceparent header; null where it came without.';
