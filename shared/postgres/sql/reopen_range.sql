update windows
set final = false
where metric_id = $1
  and bucket_size = $2
  and chain = $3
  and bucket_start >= $4
  and bucket_start < $5
  and final
