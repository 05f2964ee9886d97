-- The times between which the archive lacks entries whose loss was accepted or healed: those of the entries beside, the second of
-- which need not be known when the stream is healed.
select h.stream,
       coalesce(
           (
               select max(entry_time)
               from archived_entries
               where stream = h.stream
                 and entry_major = split_part(h.after_id, '-', 1)::bigint
                 and entry_minor = split_part(h.after_id, '-', 2)::bigint
           ),
           to_timestamp(0)
       ),
       coalesce(
           (
               select entry_time
               from archived_entries
               where stream = h.stream
                 and (entry_major, entry_minor)
                     > (split_part(h.after_id, '-', 1)::bigint, split_part(h.after_id, '-', 2)::bigint)
               order by entry_major, entry_minor
               limit 1
           ),
           now()
       )
from stream_holes h
where h.function = $2
  and $1 in ('', h.stream)
order by 1, 2
