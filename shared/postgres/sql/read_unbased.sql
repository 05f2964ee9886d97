-- The buckets of a span that have no part in the rebuild yet.
select bucket_start, dimensions, state, generation, next_state, coalesce(next_generation, 0)
from metrics_data
where metric_id = $1
  and bucket_size = $2
  and bucket_start >= $3
  and bucket_start < $4
  and chain = $5
  and generation <> $6
