-- Holes of the archive of which no block is missing any more: from the one before the hole to the one behind it, each is the child
-- of the one below.
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
),
whole as (
    select after_id
    from edges
    cross join lateral (
        select block_number, parent_hash = lag(content_hash) over (order by block_number) as linked
        from (
            select block_number, content_hash, parent_hash
            from archived_entries
            where stream = $2
              and block_number between first and next
              and block_number is not null
              and entry_minor > 0
              and reverted_by_major is null
            union all
            select block_number, content_hash, parent_hash
            from imported_entries
            where stream = $2 and block_number between first and next and reverted_by_major is null
        ) blocks
    ) chain
    group by after_id, first, next
    having count(*) = next - first + 1 and bool_and(linked is not false)
)
update stream_holes h
set imported_at = now()
from whole
where h.function = $1 and h.stream = $2 and h.after_id = whole.after_id
