-- What feeds have declared, and whether the archive has come as far as they were then.
select d.stream, d.from_time, d.to_time, d.every_height,
       coalesce(
           (split_part(a.entry_id, '-', 1)::numeric, split_part(a.entry_id, '-', 2)::numeric)
               >= (split_part(d.until_id, '-', 1)::numeric, split_part(d.until_id, '-', 2)::numeric),
           false
       )
from coverage_declarations d
left join stream_watermarks a on a.function = $2 and a.stream = d.stream
where $1 in ('', d.stream)
order by d.stream, d.from_time, d.to_time
