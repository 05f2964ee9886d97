-- The events of a range of times that count at a cut, of one type or with their blocks. Of their fields all are read, or only
-- some; exact_fields has all of them.
select event_type, event_time, entry_major, entry_minor, ordinal, block_number, {fields}
from chain_events
where chain = $1
  and event_type = any ($2)
  and event_time >= $3
  and event_time < $4
  and (entry_major is null or (entry_major, entry_minor) <= ($5, $6))
  and (reverted_by_major is null or (reverted_by_major, reverted_by_minor) > ($5, $6))
