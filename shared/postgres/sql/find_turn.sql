-- The metric and chain of a function whose turn it is, and the floor of their archive: those with the oldest queued run that may be
-- begun. Empty names are any. What depends on the past goes by windows: where its first one has to wait, all of them have. Where the
-- archive has not reached what was applied, or something that was passed or reverted has still to be looked at, nothing may be begun.
select m.metric_id, c.chain, m.definition,
       coalesce(
           (
               select max(s.archive_floor)
               from stream_types t
               join streams s on s.name = t.stream
               where t.chain = c.chain and event_types(m.definition) ? t.event_type
           ),
           '-infinity'
       )
from metric_registry m
cross join lateral jsonb_array_elements_text(m.definition -> 'chains') as c (chain)
cross join lateral (
    (
        select r.requested_at, r.run_id
        from runs r
        where r.metric_id = m.metric_id
          and r.bucket_size = $2
          and r.chain = c.chain
          and r.state = 'queued'
          and r.attempt >= 0 -- the condition of the index runs_turn
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
        order by r.requested_at, r.run_id
        limit 1
    )
    union all
    select f.requested_at, f.run_id
    from (
        select r.requested_at, r.run_id, r.bucket_start
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
  and not exists ( -- otherwise the rebuild would come to nothing
      select
      from stream_types t
      join stream_watermarks w on w.stream = t.stream and w.function = m.type
      left join stream_watermarks a on a.stream = t.stream and a.function = 'archive'
      where t.chain = c.chain
        and event_types(m.definition) ? t.event_type
        and (
            a.entry_id is null
            or (split_part(a.entry_id, '-', 1)::numeric, split_part(a.entry_id, '-', 2)::numeric)
               < (split_part(w.entry_id, '-', 1)::numeric, split_part(w.entry_id, '-', 2)::numeric)
            or exists (select from pending_reverts v where v.function = w.function and v.stream = w.stream)
            or exists (select from pending_ranges p where p.function = w.function and p.stream = w.stream and p.metric_id is null)
        )
  )
order by n.requested_at, n.run_id
limit 1
