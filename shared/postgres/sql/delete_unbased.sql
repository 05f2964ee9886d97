-- The buckets of a span that have no part in the rebuild go. What was published of them is recorded.
with gone as (
    delete from metrics_data
    where metric_id = $1
      and bucket_size = $2
      and bucket_start >= $3
      and bucket_start < $4
      and chain = $5
      and generation <> $6
    returning *
)
insert into bucket_revisions (
    metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, reason, run_id, old_value, old_value_json
)
select g.metric_id, g.bucket_size, g.bucket_start, g.bucket_end, g.chain, g.dimensions,
       case
           when w.base_version < m.calculation_version then 'definition'
           else revision_reason(r.reason, g.metric_id, g.bucket_size, g.chain, g.bucket_start)
       end,
       r.run_id, g.value, g.value_json
from gone g
join windows w using (metric_id, bucket_size, bucket_start, chain)
join metric_registry m using (metric_id)
left join runs r on r.lease = $7 and r.bucket_start = g.bucket_start
where w.final or w.finalized_at is not null
