-- Takes finality from the windows of a range of times of which their function has passed over events.
with opened as (
    update windows
    set final = false
    where metric_id = $1
      and bucket_size = $2
      and chain = $3
      and bucket_start >= $4
      and bucket_start < $5
      and final
    returning bucket_start
)
insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, details)
select 'dev.chainmetrics.bucket.revised.v1', m.name, m.type, m.definition ->> 'complexity', $2, o.bucket_start, $3,
       '{"reason": "passed"}'
from opened o
join metric_registry m on m.metric_id = $1
