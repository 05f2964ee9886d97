-- What people and functions act on comes before what only tells of windows that are final, or no longer: a history, or an import, makes
-- more of those than can be sent for a while; a tenth is taken in any case. Among each, those that could not be sent before come last:
-- what does not get through holds no other up. Each with the trace of its run, as W3C Trace Context writes it, where that is recorded.
with urgent as (
    select outbox_id
    from outbox
    where sent_at is null
      and type not in ('dev.chainmetrics.bucket.finalized.v1', 'dev.chainmetrics.bucket.revised.v1')
      and refusals < $2
      and leased_until < clock_timestamp()
    order by error is not null, outbox_id
    limit $3
    for update skip locked
), others as (
    select outbox_id
    from outbox
    where sent_at is null
      and type in ('dev.chainmetrics.bucket.finalized.v1', 'dev.chainmetrics.bucket.revised.v1')
      and refusals < $2
      and leased_until < clock_timestamp()
    order by error is not null, outbox_id
    limit greatest($3 - (select count(*) from urgent), $3 / 10, 1)
    for update skip locked
), claimed as (
    update outbox
    set leased_until = clock_timestamp() + $1
    where outbox_id in (select outbox_id from urgent union all select outbox_id from others)
    returning outbox_id, type, created_at, metric, metric_type, complexity, bucket_size, bucket_start, chain, run_id, details
)
select c.*, case when r.span_id is not null then '00-' || r.trace_id || '-' || r.span_id || '-01' end
from claimed c
left join runs r using (run_id)
order by c.type in ('dev.chainmetrics.bucket.finalized.v1', 'dev.chainmetrics.bucket.revised.v1'), c.outbox_id
