-- The metrics of a function with a bucket size, or one of them, that are made of a query and of no events, each with its chains: how far
-- windows were requested. They are due by the clock alone.
select r.metric_id, r.version, r.definition, r.created_at, c.chain, s.requested_until
from metric_registry r
cross join jsonb_array_elements_text(r.definition -> 'chains') as c (chain)
left join schedules s on s.metric_id = r.metric_id and s.bucket_size = $2 and s.chain = c.chain
where r.type = $1
  and ($3 = '' or r.name = $3)
  and r.deleted_at is null
  and r.paused_at is null
  and r.definition -> 'bucket_sizes' ? $2
  and r.definition -> 'calculation_logic' ? 'sql'
  and not r.definition #> '{calculation_logic,sql}' ? 'event_types'
order by r.metric_id, c.chain
