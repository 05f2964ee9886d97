select after_id, next_id, removed, first_id
from stream_holes
where function = $1 and stream = $2
