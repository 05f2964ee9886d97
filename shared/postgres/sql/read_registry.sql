select w.version, coalesce(s.mode = 'open', false), r.metric_id, r.name, r.definition, r.oldest_generation
from stream_watermarks w
left join streams s on s.name = w.stream
left join metric_registry r on r.type = w.function and r.deleted_at is null
where w.function = $1 and w.stream = $2
order by r.metric_id
