-- Gives up the rebuilds of all windows of a function that count events of a stream.
update windows w
set cut = null
from metric_registry r
join stream_types t on event_types(r.definition) ? t.event_type
where r.type = $1
  and t.stream = $2
  and w.metric_id = r.metric_id
  and w.chain = t.chain
  and w.cut is not null
