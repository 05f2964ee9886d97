-- Takes finality from windows, and requests runs of them, unless the runs of a lease have a reason that explains what they change:
-- then all sizes were requested.
with unexplained as (
    select
    from runs
    where lease = $5 and reason in ('due', 'late', 'backfill')
    limit 1
), opened as (
    update windows w
    set final = false
    from unexplained
    where w.metric_id = $1 and w.bucket_size = $2 and w.chain = $3 and w.bucket_start = any ($4) and w.final
    returning w.bucket_start
)
insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
select $1, $2, $3, bucket_start, 'backfill'
from opened
on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do nothing
