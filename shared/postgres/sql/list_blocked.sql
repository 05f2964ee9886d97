-- Windows that a check keeps provisional, by metric and bucket size, each with what it fails since the shortest time.
select m.name, c.bucket_size, count(distinct (c.bucket_start, c.chain)), max(c.failed_at),
       (array_agg(c.check_name || ': ' || c.message order by c.failed_at desc, c.bucket_start desc, c.check_name))[1]
from check_failures c
join metric_registry m using (metric_id)
where c.severity = 'block' and m.deleted_at is null
group by m.name, c.bucket_size
order by m.name, c.bucket_size
