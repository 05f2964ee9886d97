-- The metric and chain of a function whose turn it is, and the floor of their archive: those with the oldest queued run that may be
-- begun. Empty names are any. What depends on the past goes by windows: where its first one has to wait, all of them have.
select n.metric_id, n.chain, m.definition,
       coalesce(
           (
               select s.archive_floor
               from stream_types t
               join streams s on s.name = t.stream
               where t.chain = n.chain and t.event_type = m.definition #>> '{calculation_logic,stream,event_type}'
           ),
           '-infinity'
       )
from metric_registry m
cross join lateral (
    (
        select r.run_id, r.metric_id, r.chain
        from runs r
        where r.metric_id = m.metric_id
          and r.bucket_size = $2
          and r.state = 'queued'
          and r.not_before <= clock_timestamp()
          and not coalesce((m.definition ->> 'depends_on_past')::boolean, false)
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
    )
    union all
    select f.run_id, m.metric_id, c.chain
    from jsonb_array_elements_text(m.definition -> 'chains') as c (chain)
    cross join lateral (
        select r.run_id, r.bucket_start
        from runs r
        where r.metric_id = m.metric_id
          and r.bucket_size = $2
          and r.chain = c.chain
          and r.state = 'queued'
          and r.not_before <= clock_timestamp()
        order by r.bucket_start
        limit 1
    ) f
    where coalesce((m.definition ->> 'depends_on_past')::boolean, false)
      and f.bucket_start <= coalesce(blocked_from(m.metric_id, $2, c.chain), 'infinity')
      and not exists (
          select
          from runs o
          where o.metric_id = m.metric_id
            and o.bucket_size = $2
            and o.chain = c.chain
            and o.bucket_start = f.bucket_start
            and o.state = 'running'
      )
) n
where m.type = $1
  and m.deleted_at is null
  and m.paused_at is null
  and ($3 = '' or m.name = $3)
  and ($4 = '' or m.definition ->> 'complexity' = $4)
  and (
      select count(distinct o.lease)
      from runs o
      where o.metric_id = m.metric_id and o.bucket_size = $2 and o.state = 'running'
  ) < coalesce((m.definition ->> 'max_active_runs')::integer, 1)
order by n.run_id
limit 1
