-- The metric of a rebuild, the stream that has its events, null where none has brought any yet, and what keeps it from being
-- computed from the archive.
select r.version, r.oldest_generation, r.definition, t.stream, coalesce(s.archive_floor, '-infinity'), coalesce(t.left_out, 0),
       coalesce(b.left_out, 0),
       exists (select from stream_holes h where h.function = $4 and h.stream = t.stream and h.imported_at is null and not h.healed),
       exists (
           select
           from dead_letters d
           where d.stream = t.stream and position('quarantined: ' || $4 || ' ' in d.reason) > 0
       )
from metric_registry r
left join stream_types t
    on t.chain = $2 and t.event_type = r.definition #>> '{calculation_logic,stream,event_type}'
left join stream_types b on b.chain = $2 and b.event_type = 'block'
left join streams s on s.name = t.stream
where r.metric_id = $1
  and r.type = $3
  and r.deleted_at is null
  and r.definition -> 'chains' ? $2
  and r.definition -> 'bucket_sizes' ? $5
