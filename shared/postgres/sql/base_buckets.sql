update {table} d
set generation = $6, next_state = null, next_generation = null
from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::text[], $5::text[])
    as b (metric_id, bucket_size, bucket_start, chain, dimensions)
where d.metric_id = b.metric_id
  and d.bucket_size = b.bucket_size
  and d.bucket_start = b.bucket_start
  and d.chain = b.chain
  and d.dimensions = b.dimensions
