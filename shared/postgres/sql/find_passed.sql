-- The ranges that a function has passed over and the archive has.
select p.stream, p.after_id, p.until_id
from pending_ranges p
join stream_watermarks a on a.function = $2 and a.stream = p.stream
where p.function = $1
  and p.metric_id is null
  and (split_part(a.entry_id, '-', 1)::numeric, split_part(a.entry_id, '-', 2)::numeric)
      >= (split_part(p.until_id, '-', 1)::numeric, split_part(p.until_id, '-', 2)::numeric)
order by p.recorded_at
