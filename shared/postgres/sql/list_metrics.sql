select r.metric_id, r.name, r.version, r.definition, r.created_at, r.updated_at, r.paused_at,
       coalesce((select jsonb_object_agg(p.stream, p.until_id) from pending_ranges p where p.metric_id = r.metric_id), '{}')
from metric_registry r
where r.deleted_at is null and ($1::text[] is null or r.name = any ($1))
order by r.name
