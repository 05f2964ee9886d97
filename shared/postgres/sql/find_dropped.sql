-- The bucket sizes and chains that metrics had in an earlier version, and no longer have.
select r.metric_id, coalesce(s.dropped, '{}'), coalesce(c.dropped, '{}')
from metric_registry r
cross join lateral (
    select array_agg(distinct size) as dropped
    from metric_versions v
    cross join jsonb_array_elements_text(v.definition -> 'bucket_sizes') as size
    where v.metric_id = r.metric_id and not r.definition -> 'bucket_sizes' ? size
) s
cross join lateral (
    select array_agg(distinct chain) as dropped
    from metric_versions v
    cross join jsonb_array_elements_text(v.definition -> 'chains') as chain
    where v.metric_id = r.metric_id and not r.definition -> 'chains' ? chain
) c
where r.name = any ($1)
  and r.deleted_at is null
  and (s.dropped is not null or c.dropped is not null)
