with metric as (
    update metric_registry
    set type = $2, definition = $3, version = version + 1, updated_at = now()
    where metric_id = $1
    returning metric_id, version, definition
)
insert into metric_versions (metric_id, version, definition)
select metric_id, version, definition from metric
