-- Of windows of several metrics.
select request_dependents(k.metric_id, k.bucket_size, k.chain, array_agg(k.bucket_start order by k.bucket_start))
from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::text[]) as k (metric_id, bucket_size, bucket_start, chain)
where exists (select from derived_metrics)
group by k.metric_id, k.bucket_size, k.chain
order by k.metric_id, k.bucket_size, k.chain
