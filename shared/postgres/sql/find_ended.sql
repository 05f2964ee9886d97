-- The newest runs of windows, where they have failed or were skipped, as is asked for.
select r.run_id
from runs r
join metric_registry m using (metric_id)
where r.state in ('failed', 'skipped')
  and r.state = $2
  and m.deleted_at is null
  and ($1 = '' or m.name = $1)
  and not exists (
      select
      from runs n
      where n.metric_id = r.metric_id
        and n.bucket_size = r.bucket_size
        and n.chain = r.chain
        and n.bucket_start = r.bucket_start
        and n.run_id > r.run_id
  )
order by r.run_id
