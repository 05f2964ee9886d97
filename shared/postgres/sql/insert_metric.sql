with metric as (
    insert into metric_registry (name, type, definition)
    values ($1, $2, $3)
    returning metric_id, version, definition
)
insert into metric_versions (metric_id, version, definition)
select metric_id, version, definition from metric
returning metric_id
