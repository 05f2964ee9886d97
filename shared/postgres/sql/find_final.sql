-- The windows of a span that are final.
select bucket_start
from final_windows
where metric_id = $1
  and bucket_size = $2
  and bucket_start >= $3
  and bucket_start < $4
  and chain = $5
