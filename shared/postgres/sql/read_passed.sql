-- The days of the events in the entries of a range, and in those that reverts in the range have taken back, each with its first and
-- last time.
select min(entry_time), max(entry_time)
from (
    select entry_time
    from archived_entries
    where stream = $1
      and (entry_major, entry_minor) > ($2, $3)
      and (entry_major, entry_minor) <= ($4, $5)
      and events > 0
    union all
    select entry_time
    from archived_entries
    where stream = $1
      and (reverted_by_major, reverted_by_minor) > ($2, $3)
      and (reverted_by_major, reverted_by_minor) <= ($4, $5)
      and reverted_by_major is not null
      and events > 0
    union all
    select entry_time
    from imported_entries
    where stream = $1
      and (reverted_by_major, reverted_by_minor) > ($2, $3)
      and (reverted_by_major, reverted_by_minor) <= ($4, $5)
) e
where entry_time >= '2009-01-01Z'
group by date_trunc('day', entry_time, 'UTC')
order by 1
