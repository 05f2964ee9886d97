insert into outbox (type, metric, metric_type, complexity, details)
select 'dev.chainmetrics.metric.changed.v1', m.name, m.type, m.definition ->> 'complexity',
       jsonb_build_object('change', c.change, 'version', m.version)
from unnest($1::text[], $2::text[]) as c (name, change)
join metric_registry m on m.name = c.name and m.deleted_at is null
