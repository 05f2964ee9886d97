-- Deadlines of metrics: others are told of windows that are without a result for too long.

alter table runs add column late_at timestamptz;

comment on column runs.late_at is 'When others were told that the deadline of its metric had passed; null where they were not.';
