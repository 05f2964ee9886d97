-- From now on the buckets that a metric has are those of another calculation: nothing more is merged into them, and rebuilds that
-- are under way are worth nothing.
with outdated as (
    update metric_registry
    set oldest_generation = nextval('rebuild_generation'), calculation_version = version
    where metric_id = $1
    returning metric_id
), ranges as (
    delete from pending_ranges using outdated where pending_ranges.metric_id = outdated.metric_id
)
update windows w
set cut = null
from outdated o
where w.metric_id = o.metric_id and w.cut is not null
