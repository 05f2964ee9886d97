-- Marks the events of imported blocks above the ancestor.
update chain_events e
set reverted_by_major = $2, reverted_by_minor = $3
from imported_entries i
join stream_types t on t.stream = i.stream and t.chain = i.chain
where i.stream = $1
  and i.block_number > $4
  and i.reverted_by_major is null
  and e.chain = i.chain
  and e.event_type = t.event_type
  and e.event_time = i.entry_time
  and e.stream = $1
  and e.block_number = i.block_number
  and e.entry_major is null
  and e.reverted_by_major is null
