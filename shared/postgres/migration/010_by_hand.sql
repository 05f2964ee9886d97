-- What people do by hand: they pause metrics, clear windows, import what the streams do not bring.

alter table metric_registry add column paused_at timestamptz;

comment on column metric_registry.paused_at is
    'Since when no run of it is requested because it is due, and none that is queued is begun; null where it is not paused. The '
    'streams go on.';

alter table runs
    drop constraint runs_reason_check,
    add constraint runs_reason_check
        check (reason in ('due', 'history', 'backfill', 'reverted', 'late', 'passed', 'cleared', 'imported'));

comment on column runs.reason is
    'due: the window has ended; history: the metric, or its calculation, is newer than the window; backfill: a person has asked; '
    'reverted: a reorganisation has taken back some of its events; late: an event has come after it was final; '
    'passed: its function has passed over some of its events; cleared: a person doubts it; imported: events of it were imported.';
