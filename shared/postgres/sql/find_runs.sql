-- Queued runs of the metric and chain whose turn it is, by window. Empty names are any.
with next as (
    select n.metric_id, n.chain
    from metric_registry m
    cross join lateral (
        select c.run_id, c.metric_id, c.chain
        from claimable_runs c
        where c.metric_id = m.metric_id and c.bucket_size = $2
        order by c.run_id
        limit 1
    ) n
    where m.type = $1
      and m.deleted_at is null
      and ($4 = '' or m.name = $4)
      and ($5 = '' or m.definition ->> 'complexity' = $5)
      and (
          select count(distinct o.lease)
          from runs o
          where o.metric_id = m.metric_id and o.bucket_size = $2 and o.state = 'running'
      ) < coalesce((m.definition ->> 'max_active_runs')::integer, 1)
    order by n.run_id
    limit 1
)
select c.run_id, c.metric_id, c.chain, c.bucket_start, c.attempt
from claimable_runs c
join next using (metric_id, chain)
where c.bucket_size = $2
order by c.bucket_start
limit $3
