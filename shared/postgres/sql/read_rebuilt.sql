-- The metric of a rebuild, and the stream that has its events; null where none has brought any yet.
select r.version, r.definition, t.stream, coalesce(s.archive_floor, '-infinity'), coalesce(t.left_out, 0)
from metric_registry r
left join stream_types t
    on t.chain = $2 and t.event_type = r.definition #>> '{calculation_logic,stream,event_type}'
left join streams s on s.name = t.stream
where r.metric_id = $1 and r.type = $3 and r.deleted_at is null
