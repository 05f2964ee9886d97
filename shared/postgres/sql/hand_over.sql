select until_id, content_hash, low_water
from hand_overs
where function = $1 and stream = $2
