-- Locks the windows of a span, in the order in which all who lock several do.
select
from windows
where metric_id = $1
  and bucket_size = $2
  and bucket_start >= $3
  and bucket_start < $4
  and chain = $5
order by bucket_start
for update
