select entry_id, content_hash, version, low_water, greatest(low_water, highest_low_water)
from stream_watermarks
where function = $1 and stream = $2
for update
