-- What a function has passed of its streams, it has passed without counting it for a metric that is new, or calculates otherwise.
insert into pending_ranges (function, stream, metric_id, after_id, until_id)
select w.function, w.stream, $1, '0-0', w.entry_id
from stream_watermarks w
where w.function = $2 and w.entry_id <> '0-0'
on conflict (function, stream, metric_id, after_id) do update set until_id = excluded.until_id
