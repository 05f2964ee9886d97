-- Runs that have no result yet, by metric type and bucket size, since when the oldest of those waits that may be begun, and how many
-- are late. What is paused waits on purpose.
select m.type, w.bucket_size, count(*) filter (where w.queued), count(*) filter (where not w.queued),
       min(w.requested_at) filter (where w.queued and w.not_before <= clock_timestamp()), count(*) filter (where w.late_at is not null)
from (
    select metric_id, bucket_size, true as queued, requested_at, not_before, late_at
    from runs
    where state = 'queued'
    union all
    select metric_id, bucket_size, false, requested_at, not_before, late_at
    from runs
    where state = 'running'
) w
join metric_registry m using (metric_id)
where m.deleted_at is null and m.paused_at is null
group by m.type, w.bucket_size
order by m.type, w.bucket_size
