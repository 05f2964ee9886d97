-- What the buckets of metrics show in a span, unless another calculation has made them.
select d.metric_id, d.bucket_start, d.dimensions::jsonb, d.value
from metrics_data d
join metric_registry m using (metric_id)
where d.metric_id = any ($1)
  and d.bucket_size = $2
  and d.bucket_start >= $3
  and d.bucket_start < $4
  and d.chain = $5
  and d.generation >= m.oldest_generation
