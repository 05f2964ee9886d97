-- How far the archive is, and whether buckets of a function, or of its metric, hold what was reverted or lack what was passed over.
select coalesce((select entry_id from stream_watermarks where function = $1 and stream = $2), '0-0'),
       exists (select from pending_reverts where function = $3 and stream = $2),
       exists (
           select
           from pending_ranges
           where function = $3 and stream = $2 and coalesce(metric_id, $4) = $4
       )
