select m.name, c.bucket_size, c.bucket_start, c.chain, c.check_name, c.severity, c.message, c.run_id, c.failed_at
from check_failures c
join metric_registry m using (metric_id)
where m.deleted_at is null
  and ($1 = '' or m.name = $1)
  and ($2 = '' or c.bucket_size = $2)
  and ($3 = '' or c.severity = $3)
order by c.failed_at desc, m.name, c.bucket_size, c.bucket_start desc, c.chain, c.check_name
limit $4
