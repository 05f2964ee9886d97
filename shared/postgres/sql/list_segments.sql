select stream, chain, from_height, to_height, from_time, to_time, low_water
from coverage_segments
where $1 in ('', stream)
order by stream, chain, from_height
