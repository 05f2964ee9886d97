update windows
set cut = null
where metric_id = $1
  and bucket_size = $2
  and bucket_start >= $3
  and bucket_start < $4
  and chain = $5
  and generation = $6
