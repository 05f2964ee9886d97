select metric_id, bucket_size, bucket_start, chain, generation
from windows
where metric_id = any ($1) and cut is not null
