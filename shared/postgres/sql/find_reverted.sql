-- The reverts that the archive has passed as well, with the range of times of what they took back; null where that is nothing.
select p.stream, p.entry_id, min(e.entry_time), max(e.entry_time)
from pending_reverts p
join stream_watermarks a on a.function = $2 and a.stream = p.stream
left join lateral (
    select e.entry_time
    from archived_entries e
    where e.stream = p.stream
      and (e.entry_major, e.entry_minor)
          > (split_part(p.ancestor_id, '-', 1)::bigint, split_part(p.ancestor_id, '-', 2)::bigint)
      and e.events > 0
      and (e.entry_major, e.entry_minor) < (split_part(p.entry_id, '-', 1)::bigint, split_part(p.entry_id, '-', 2)::bigint)
    union all
    select i.entry_time
    from imported_entries i
    where i.stream = p.stream
      and i.block_number > p.ancestor_number
      and i.reverted_by_major = split_part(p.entry_id, '-', 1)::bigint
      and i.reverted_by_minor = split_part(p.entry_id, '-', 2)::bigint
) e on true
where p.function = $1
  and (split_part(a.entry_id, '-', 1)::numeric, split_part(a.entry_id, '-', 2)::numeric)
      >= (split_part(p.entry_id, '-', 1)::numeric, split_part(p.entry_id, '-', 2)::numeric)
group by p.stream, p.entry_id
