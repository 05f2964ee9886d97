-- The metric of a rebuild, the stream that has its events, null where none has brought any yet, how many have them, and what keeps it
-- from being computed from the archive.
select r.version, r.oldest_generation, r.definition, t.stream, t.streams, coalesce(s.archive_floor, '-infinity'), coalesce(t.left_out, 0),
       coalesce(b.left_out, 0),
       exists (select from stream_holes h where h.function = $4 and h.stream = t.stream and h.imported_at is null and not h.healed),
       exists (
           select
           from dead_letters d
           where d.stream = t.stream and position('quarantined: ' || $4 || ' ' in d.reason) > 0
       )
from metric_registry r
cross join lateral (
    select min(o.stream) as stream, count(distinct o.stream) as streams, sum(o.left_out)::bigint as left_out
    from stream_types o
    where o.chain = $2 and event_types(r.definition) ? o.event_type
) t
left join stream_types b on b.chain = $2 and b.event_type = 'block'
left join streams s on s.name = t.stream
where r.metric_id = $1
  and r.type = $3
  and r.deleted_at is null
  and r.definition -> 'chains' ? $2
  and r.definition -> 'bucket_sizes' ? $5
