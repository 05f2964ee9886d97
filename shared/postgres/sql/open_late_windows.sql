-- What came after everything was taken to have come: a window that was final is computed once more. One before the first that was
-- due is computed too, unless it begins before its metric does; one of a query that is running, which may have missed it; and one that
-- a check keeps from being final.
with late as (
    select *
    from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::text[], $5::timestamptz[])
        as k (metric_id, bucket_size, bucket_start, chain, bucket_end)
), reopened as (
    update windows w
    set final = false, finalized_at = coalesce(w.finalized_at, '-infinity')
    from late k
    where w.metric_id = k.metric_id
      and w.bucket_size = k.bucket_size
      and w.bucket_start = k.bucket_start
      and w.chain = k.chain
      and w.final
    returning w.metric_id, w.bucket_size, w.bucket_start, w.chain
), told as (
    insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, details)
    select 'dev.chainmetrics.bucket.revised.v1', m.name, m.type, m.definition ->> 'complexity', r.bucket_size, r.bucket_start,
           r.chain, '{"reason": "late"}'
    from reopened r
    join metric_registry m using (metric_id)
), unrequested as (
    select k.metric_id, k.bucket_size, k.bucket_start, k.chain
    from late k
    join schedules s using (metric_id, bucket_size, chain)
    join metric_registry m using (metric_id)
    where k.bucket_start < s.requested_until
      and k.bucket_start >= coalesce((m.definition ->> 'start_date')::timestamptz, '-infinity')
      and (k.bucket_end > m.created_at or (m.definition ->> 'catchup')::boolean is not false)
      and not exists (
          select
          from windows w
          where w.metric_id = k.metric_id
            and w.bucket_size = k.bucket_size
            and w.bucket_start = k.bucket_start
            and w.chain = k.chain
      )
      and not exists (
          select
          from runs r
          where r.metric_id = k.metric_id
            and r.bucket_size = k.bucket_size
            and r.bucket_start = k.bucket_start
            and r.chain = k.chain
      )
)
insert into runs (metric_id, bucket_size, bucket_start, chain, reason)
select metric_id, bucket_size, bucket_start, chain, 'late'
from (
    select * from reopened
    union
    select * from unrequested
    union
    select w.metric_id, w.bucket_size, w.bucket_start, w.chain
    from late k
    join windows w using (metric_id, bucket_size, bucket_start, chain)
    join metric_registry m using (metric_id)
    where w.cut is not null and m.definition -> 'calculation_logic' ? 'sql'
    union
    select metric_id, bucket_size, bucket_start, chain
    from late
    where is_blocked(metric_id, bucket_size, chain, bucket_start)
) w
on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do nothing
