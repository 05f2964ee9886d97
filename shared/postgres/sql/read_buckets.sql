select chain, bucket_start, bucket_end, dimensions, value::text, value_json, final
from metric_buckets
where metric = $1
  and bucket_size = $2
  and bucket_start >= $3
  and bucket_start < $4
  and ($5 = '' or chain = $5)
  and dimensions @> $6
order by chain, dimensions, bucket_start
