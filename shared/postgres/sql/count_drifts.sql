-- Windows that have drifted, as far as notices of it are kept.
select metric, bucket_size, count(*), max(created_at)
from outbox
where type = 'dev.chainmetrics.bucket.drifted.v1'
group by metric, bucket_size
order by metric, bucket_size
