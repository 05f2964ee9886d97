-- Counts the buckets of windows without a row, and of those with one that have lost all their buckets.
select k.place, coalesce(w.sets, c.sets), w.sets is null
from unnest($2::bigint[], $3::timestamptz[], $4::text[]) with ordinality as k (metric_id, bucket_start, chain, place)
left join lateral (
    select v.sets
    from windows v
    where v.metric_id = k.metric_id
      and v.bucket_size = $1
      and v.bucket_start = k.bucket_start
      and v.chain = k.chain
      and exists (
          select
          from {table} p
          where p.metric_id = k.metric_id
            and p.bucket_size = $1
            and p.bucket_start = k.bucket_start
            and p.chain = k.chain
      )
    limit 1
) w on true
left join lateral (
    select count(*) as sets
    from {table} p
    where w.sets is null
      and p.metric_id = k.metric_id
      and p.bucket_size = $1
      and p.bucket_start = k.bucket_start
      and p.chain = k.chain
) c on true
