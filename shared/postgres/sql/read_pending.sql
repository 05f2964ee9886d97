-- How far the archive is, and whether buckets of a function hold what was reverted, or lack what was passed over. What one metric
-- lacks is no obstacle: a run computes a window from all that is archived.
select coalesce((select entry_id from stream_watermarks where function = $1 and stream = $2), '0-0'),
       exists (select from pending_reverts where function = $3 and stream = $2),
       exists (select from pending_ranges where function = $3 and stream = $2 and metric_id is null)
