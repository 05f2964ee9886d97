-- How far the function of a metric, or those of the metrics from which it is derived, have got with the streams of their events, of
-- each of its chains, or of one; and whether something before that is not in the buckets of a size and range, since it has still to be
-- computed from the archive, or could not be. Of several the one that is furthest behind counts.
with recursive sources as (
    select metric_id, name, type, definition
    from metric_registry
    where name = $1 and deleted_at is null
    union
    select m.metric_id, m.name, m.type, m.definition
    from sources s
    cross join jsonb_array_elements_text(s.definition #> '{calculation_logic,derived,dependencies}') as n (name)
    join metric_registry m on m.name = n.name and m.deleted_at is null
)
select distinct on (t.chain, t.stream)
       t.chain, t.stream, w.entry_id, min(w.low_water) over of_stream,
       bool_or(l.lacks) over of_stream
from sources m
cross join lateral (
    select distinct o.chain, o.stream
    from stream_types o
    where event_types(m.definition) ? o.event_type and m.definition -> 'chains' ? o.chain
) t
join stream_watermarks w on w.function = m.type and w.stream = t.stream
cross join lateral (
    select exists (
           select
           from pending_ranges p
           where p.function = m.type and p.stream = t.stream and coalesce(p.metric_id, m.metric_id) = m.metric_id
       )
       or exists (select from pending_reverts v where v.function = m.type and v.stream = t.stream)
       or exists (
           select
           from runs r
           where r.metric_id in (m.metric_id, (select metric_id from sources where name = $1))
             and r.bucket_size = $3
             and r.chain = t.chain
             and r.bucket_start >= $4
             and r.bucket_start < $5
             and r.state <> 'succeeded'
             and explains_changes(r.reason)
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
) l
where ($2 = '' or t.chain = $2)
  and t.chain in (
      select c.chain
      from sources s
      cross join jsonb_array_elements_text(s.definition -> 'chains') as c (chain)
      where s.name = $1
  )
window of_stream as (partition by t.chain, t.stream)
order by t.chain, t.stream, split_part(w.entry_id, '-', 1)::numeric, split_part(w.entry_id, '-', 2)::numeric
