select function
from stream_watermarks
where stream = $1
order by function
for update
