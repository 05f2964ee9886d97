-- Queued runs of the metric and chain whose turn it is, by window. Those whose window is being computed wait.
with next as (
    select n.metric_id, n.chain
    from metric_registry m
    cross join lateral (
        select r.run_id, r.metric_id, r.chain
        from runs r
        where r.metric_id = m.metric_id
          and r.bucket_size = $2
          and r.state = 'queued'
          and r.not_before <= clock_timestamp()
          and not exists (
              select
              from runs o
              where o.metric_id = r.metric_id
                and o.bucket_size = r.bucket_size
                and o.chain = r.chain
                and o.bucket_start = r.bucket_start
                and o.state = 'running'
          )
        order by r.run_id
        limit 1
    ) n
    where m.type = $1 and m.deleted_at is null
    order by n.run_id
    limit 1
)
select r.run_id, r.metric_id, r.chain, r.bucket_start, r.attempt
from runs r
join next using (metric_id, chain)
where r.state = 'queued'
  and r.bucket_size = $2
  and r.not_before <= clock_timestamp()
  and not exists (
      select
      from runs o
      where o.metric_id = r.metric_id
        and o.bucket_size = r.bucket_size
        and o.chain = r.chain
        and o.bucket_start = r.bucket_start
        and o.state = 'running'
  )
order by r.bucket_start
limit $3
for update of r skip locked
