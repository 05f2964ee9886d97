select r.name, e.stream, e.reason, e.count, e.sample_entry_id, e.first_seen, e.last_seen
from metric_errors e
join metric_registry r using (metric_id)
where r.deleted_at is null
order by r.name, e.stream, e.reason
