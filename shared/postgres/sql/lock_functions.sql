select function, stream, entry_id
from stream_watermarks
where function = any ($1)
order by function, stream
for update
