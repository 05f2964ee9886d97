update {table} d
set next_state = n.next_state, next_generation = n.next_generation
from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::bytea[], $7::bigint[])
    as n (metric_id, bucket_size, bucket_start, chain, dimensions, next_state, next_generation)
where d.metric_id = n.metric_id
  and d.bucket_size = n.bucket_size
  and d.bucket_start = n.bucket_start
  and d.chain = n.chain
  and d.dimensions = n.dimensions
