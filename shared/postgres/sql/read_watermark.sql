select entry_id, content_hash
from stream_watermarks
where function = $1 and stream = $2
