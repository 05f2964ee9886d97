-- What metrics cannot count is seen also where only runs have met it.

alter table runs add column refused bigint;

comment on column runs.refused is
    'How many archived events of the window, by their chain time, the metric cannot count, and observations for which the window has '
    'no room; null where it was made of the windows of a smaller size. Those that a stream has brought are in metric_errors too.';
