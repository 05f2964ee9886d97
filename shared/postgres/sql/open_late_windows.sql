-- What came after its window was final: the window is computed once more.
with reopened as (
    update windows w
    set final = false
    from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::text[]) as k (metric_id, bucket_size, bucket_start, chain)
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
)
insert into runs (metric_id, bucket_size, bucket_start, chain, reason)
select metric_id, bucket_size, bucket_start, chain, 'late'
from reopened
on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do nothing
