-- By their numbers alone: by the state as it is, all that is queued may be read, where the table had nothing queued before.
update runs
set state = 'running',
    lease = $2,
    lease_until = clock_timestamp() + $3,
    attempt = attempt + 1,
    started_at = clock_timestamp(),
    code_version = nullif($4, ''),
    trace_id = nullif($5, ''),
    span_id = nullif($6, '')
where run_id = any ($1) and state || '' = 'queued'
