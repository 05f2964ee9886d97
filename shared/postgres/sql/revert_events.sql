-- Marks the events of the entries that the revert has taken back. Their times lead to them.
with reverted as materialized (
    select min(entry_time) as first, max(entry_time) as last
    from archived_entries
    where stream = $1
      and (entry_major, entry_minor) > ($4, $5)
      and (entry_major, entry_minor) < ($2, $3)
      and events > 0
)
update chain_events e
set reverted_by_major = $2, reverted_by_minor = $3
from stream_types t
where t.stream = $1
  and e.chain = t.chain
  and e.event_type = t.event_type
  and e.event_time >= (select first from reverted)
  and e.event_time <= (select last from reverted)
  and e.stream = $1
  and (e.entry_major, e.entry_minor) > ($4, $5)
  and (e.entry_major, e.entry_minor) < ($2, $3)
  and e.reverted_by_major is null
