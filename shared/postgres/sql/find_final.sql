-- The windows of a span that are final, where any metric depends on others.
select bucket_start
from final_windows
where metric_id = $1
  and bucket_size = $2
  and bucket_start >= $3
  and bucket_start < $4
  and chain = $5
  and exists (select from derived_metrics)
