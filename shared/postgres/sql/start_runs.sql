-- Runs that are begun as they are requested. Fails where one of their windows has one that is running.
insert into runs (
    metric_id, bucket_size, chain, bucket_start, reason, state, attempt, lease, lease_until, started_at, code_version, trace_id, span_id
)
select $1, $2, $3, w.bucket_start, 'backfill', 'running', 1, $5, clock_timestamp() + $6, clock_timestamp(), nullif($7, ''),
       nullif($8, ''), nullif($9, '')
from unnest($4::timestamptz[]) as w (bucket_start)
returning run_id
