-- How many windows of a span the rebuild still has, under the definition with which it began.
select count(*)
from windows w
join metric_registry r using (metric_id)
where w.metric_id = $1
  and w.bucket_size = $2
  and w.bucket_start >= $3
  and w.bucket_start < $4
  and w.chain = $5
  and w.generation = $6
  and w.cut is not null
  and r.version = $7
  and r.deleted_at is null
