-- Whether more than some entries are archived after one, and what a function has not applied lies so far above the floor that runs
-- can compute its windows: a month, and a week for metrics with times of their own.
select count(*) > $4 and (
           select coalesce(bool_and(s.archive_floor = '-infinity' or w.low_water > s.archive_floor + interval '38 days'), false)
           from stream_watermarks w
           join streams s on s.name = w.stream
           where w.function = $5 and w.stream = $1
       )
from (
    select
    from archived_entries
    where stream = $1 and (entry_major, entry_minor) > ($2, $3)
    limit $4 + 1
) e
