insert into metric_since (metric_id, stream, entry_id)
select $1, w.stream, w.entry_id
from stream_watermarks w
where w.function = $2 and w.entry_id <> '0-0'
