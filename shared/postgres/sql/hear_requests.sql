-- Whoever claims runs has heard of them, or of the metric that was named.
delete from run_requests q
using metric_registry m
where m.metric_id = q.metric_id
  and q.bucket_size = $1
  and (m.metric_id = $2 or m.name = $3)
