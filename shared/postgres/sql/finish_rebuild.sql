update windows
set cut = null, sets = null, base_version = $6, final = bucket_start < $7
where metric_id = $1
  and bucket_size = $2
  and bucket_start >= $3
  and bucket_start < $4
  and chain = $5
