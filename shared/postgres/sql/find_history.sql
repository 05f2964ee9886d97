-- The metrics of a function that lack what was before them, on the streams whose archive has come to where they begin.
select p.stream, p.until_id, r.metric_id, r.version, r.oldest_generation, r.definition, r.created_at,
       coalesce(n.archive_floor, '-infinity')
from pending_ranges p
join metric_registry r using (metric_id)
join stream_watermarks a on a.function = $2 and a.stream = p.stream
left join streams n on n.name = p.stream
where p.function = $1
  and r.deleted_at is null
  and (split_part(a.entry_id, '-', 1)::numeric, split_part(a.entry_id, '-', 2)::numeric)
      >= (split_part(p.until_id, '-', 1)::numeric, split_part(p.until_id, '-', 2)::numeric)
order by r.metric_id, p.stream
