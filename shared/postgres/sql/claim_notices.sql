-- Those that could not be sent before come last: what does not get through holds no other up.
-- Each with the trace of its run, as W3C Trace Context writes it, where that is recorded.
update outbox
set leased_until = clock_timestamp() + $1
where outbox_id in (
    select outbox_id
    from outbox
    where sent_at is null and refusals < $2 and leased_until < clock_timestamp()
    order by error is not null, outbox_id
    limit $3
    for update skip locked
)
returning outbox_id, type, created_at, metric, metric_type, complexity, bucket_size, bucket_start, chain, run_id, details,
    (
        select '00-' || r.trace_id || '-' || r.span_id || '-01'
        from runs r
        where r.run_id = outbox.run_id and r.span_id is not null
    )
