select function, stream, entry_id, ancestor_id, ancestor_number::text, ancestor_hash, recorded_at
from pending_reverts
order by stream, function, recorded_at
