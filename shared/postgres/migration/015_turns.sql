-- The queue within runs, of which there may be a hundred thousand among millions that have ended: each kind of statement has an
-- index of its own, so that none is planned by what the table held before.

drop index runs_turn;
create index runs_turn on runs (metric_id, bucket_size, chain, requested_at, run_id) where state = 'queued' and attempt >= 0;

drop index runs_failed_window;
create index runs_without_result on runs (metric_id, bucket_size, chain, bucket_start, run_id) where state in ('failed', 'skipped');

alter table runs set (autovacuum_analyze_scale_factor = 0.01, autovacuum_vacuum_scale_factor = 0.05);

comment on index runs_turn is
    'For those whose turn it is. The condition on attempt holds for all: by it no other statement takes this index for runs_queued.';
