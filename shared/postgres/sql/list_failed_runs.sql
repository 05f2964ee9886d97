-- Windows whose newest run has failed, by metric and bucket size, each with its newest error.
select m.name, f.bucket_size, count(*), max(f.finished_at), (array_agg(f.error order by f.finished_at desc))[1]
from runs f
join metric_registry m using (metric_id)
where f.state = 'failed'
  and m.deleted_at is null
  and not exists (
      select
      from runs n
      where n.metric_id = f.metric_id
        and n.bucket_size = f.bucket_size
        and n.chain = f.chain
        and n.bucket_start = f.bucket_start
        and n.run_id > f.run_id
  )
group by m.name, f.bucket_size
order by m.name, f.bucket_size
