-- How far the runs of a metric that they alone compute have got, on each of its chains, or on one: up to where windows of a size were
-- requested that hold all that was expected, of the metric, or of those from which it is derived; and whether some of a range have
-- still to be computed, could not be, or are kept provisional by a check. With the stream of their events, where that is one, and the
-- entry up to which the function that is furthest behind has applied it.
with recursive sources as (
    select metric_id, type, definition, definition -> 'chains' as chains
    from metric_registry
    where name = $1 and deleted_at is null
    union
    select m.metric_id, m.type, m.definition, s.chains
    from sources s
    cross join jsonb_array_elements_text(s.definition #> '{calculation_logic,derived,dependencies}') as n (name)
    join metric_registry m on m.name = n.name and m.deleted_at is null
), standing as (
    select c.chain, t.stream, w.entry_id, m.definition -> 'calculation_logic' ? 'derived' as is_derived,
           least(w.low_water, coalesce(s.requested_until, '-infinity')) as low_water,
           exists (
               select
               from pending_ranges p
               where p.function = m.type and p.stream = t.stream and coalesce(p.metric_id, m.metric_id) = m.metric_id
           )
           or exists (select from pending_reverts v where v.function = m.type and v.stream = t.stream)
           or exists (
               select from derived_history h where h.metric_id = m.metric_id and h.bucket_size = $3 and h.chain = c.chain
           )
           or exists (
               select
               from check_failures f
               where f.metric_id = m.metric_id
                 and f.bucket_size = $3
                 and f.chain = c.chain
                 and f.bucket_start >= $4
                 and f.bucket_start < $5
                 and f.severity = 'block'
           )
           or exists (
               select
               from runs r
               where r.metric_id = m.metric_id
                 and r.bucket_size = $3
                 and r.chain = c.chain
                 and r.bucket_start >= $4
                 and r.bucket_start < $5
                 and r.state <> 'succeeded'
                 and not exists (
                     select
                     from runs l
                     where l.metric_id = r.metric_id
                       and l.bucket_size = r.bucket_size
                       and l.chain = r.chain
                       and l.bucket_start = r.bucket_start
                       and l.run_id > r.run_id
                 )
           ) as lacks
    from sources m
    cross join jsonb_array_elements_text(m.chains) as c (chain)
    left join lateral (
        select distinct o.stream
        from stream_types o
        where o.chain = c.chain and event_types(m.definition) ? o.event_type
    ) t on true
    left join stream_watermarks w on w.function = m.type and w.stream = t.stream
    left join schedules s on s.metric_id = m.metric_id and s.bucket_size = $3 and s.chain = c.chain
    where $2 = '' or c.chain = $2
)
select chain,
       case when count(distinct coalesce(stream, '')) filter (where not is_derived) = 1 then coalesce(min(stream), '') else '' end,
       coalesce((
           array_agg(entry_id order by split_part(entry_id, '-', 1)::numeric, split_part(entry_id, '-', 2)::numeric)
               filter (where entry_id is not null)
       )[1], '0-0'),
       coalesce(min(low_water) filter (where not is_derived), '-infinity'),
       bool_or(lacks)
from standing
group by chain
order by chain
