-- The heights of an interval without rows, between those with rows, whose ids begin with them.
select height_before + 1, height - 1, last_before, first_time
from (
    select entry_major as height,
           min(entry_time) as first_time,
           lag(entry_major) over (order by entry_major) as height_before,
           lag(max(entry_time)) over (order by entry_major) as last_before
    from archived_entries
    where stream = $1
      and chain is not null
      and entry_time >= $2
      and entry_time < $3
      and reverted_by_major is null
    group by entry_major
) heights
where height_before + 1 < height
order by height
