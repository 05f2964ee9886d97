delete from run_requests q
using unnest($1::text[], $2::text[]) as r (metric, bucket_size)
join metric_registry m on m.name = r.metric and m.deleted_at is null
where q.metric_id = m.metric_id and q.bucket_size = r.bucket_size
