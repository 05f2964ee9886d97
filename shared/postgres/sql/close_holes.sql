-- Holes of the archive of which no block is missing any more: it has every height from the block before to the one behind it.
-- That they belong together was seen when they were imported.
with edges as (
    select h.after_id, coalesce(b.block_number, 0) as first, n.block_number as next
    from stream_holes h
    left join archived_entries b
        on b.stream = h.stream
        and b.entry_major = split_part(h.after_id, '-', 1)::bigint
        and b.entry_minor = split_part(h.after_id, '-', 2)::bigint
    join archived_entries n
        on n.stream = h.stream
        and n.entry_major = split_part(h.next_id, '-', 1)::bigint
        and n.entry_minor = split_part(h.next_id, '-', 2)::bigint
    where h.function = $1 and h.stream = $2 and h.imported_at is null and (b.block_number is not null or h.after_id = '0-0')
)
update stream_holes h
set imported_at = now()
from edges e
where h.function = $1
  and h.stream = $2
  and h.after_id = e.after_id
  and e.next - e.first + 1 = (
      select count(*)
      from (
          select block_number
          from archived_entries
          where stream = $2
            and block_number between e.first and e.next
            and block_number is not null
            and entry_minor > 0
            and reverted_by_major is null
          union all
          select block_number
          from imported_entries
          where stream = $2 and block_number between e.first and e.next and reverted_by_major is null
      ) blocks
  )
