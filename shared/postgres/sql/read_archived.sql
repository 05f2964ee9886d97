-- How far the archive has come with a stream. One that is detached keeps no function from going on.
select entry_id
from stream_watermarks
where function = $1 and stream = $2 and detached_at is null
