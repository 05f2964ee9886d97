-- What is told of a run to those who watch: the span in which it was begun, and how often buckets have drifted.

alter table runs add column span_id text;

comment on column runs.span_id is 'With trace_id, the span in which it was begun, in hex, where that is recorded.';

create index outbox_drifted on outbox (created_at) where type = 'dev.chainmetrics.bucket.drifted.v1';
