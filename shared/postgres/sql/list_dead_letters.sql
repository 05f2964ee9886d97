select stream, entry_id, reason, content_length, recorded_at
from dead_letters
where $1 = '' or stream = $1
order by recorded_at desc, stream, entry_id
limit $2
