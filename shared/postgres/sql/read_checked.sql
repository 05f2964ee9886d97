-- The buckets of a window, each with the value of the same dimensions in the window before; none of another calculation.
select b.dimensions, b.value, p.value::text
from metrics_data b
left join metrics_data p
    on p.metric_id = $1
    and p.bucket_size = $2
    and p.bucket_start = $5
    and p.chain = $3
    and p.dimensions = b.dimensions
    and p.generation >= $6
where b.metric_id = $1
  and b.bucket_size = $2
  and b.bucket_start = $4
  and b.chain = $3
  and b.generation >= $6
order by b.dimensions
