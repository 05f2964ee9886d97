select function, stream, after_id, next_id, removed, first_id, reason, accepted_at, imported_at
from stream_holes
order by stream, function, accepted_at
