-- Takes finality from larger windows, of which each has a smaller one that was put right, and requests runs of them, and of those that a
-- check keeps from being final; unless the reason of the smaller one's run explains the change: then all sizes were requested. Gives those
-- that were final.
with unexplained as (
    select distinct k.larger
    from unnest($4::timestamptz[], $5::timestamptz[]) as k (changed, larger)
    join runs r on r.lease = $6 and r.bucket_start = k.changed
    where not explains_changes(r.reason)
), opened as (
    update windows w
    set final = false, finalized_at = coalesce(w.finalized_at, '-infinity')
    from unexplained u
    where w.metric_id = $1 and w.bucket_size = $2 and w.chain = $3 and w.bucket_start = u.larger and w.final
    returning w.bucket_start
), told as (
    insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, details)
    select 'dev.chainmetrics.bucket.revised.v1', m.name, m.type, m.definition ->> 'complexity', $2, o.bucket_start, $3,
           '{"reason": "corrected"}'
    from opened o
    join metric_registry m on m.metric_id = $1
), requested as (
    insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
    select $1, $2, $3, w.bucket_start, 'corrected'
    from (
        select bucket_start from opened
        union
        select larger from unexplained where is_blocked($1, $2, $3, larger)
    ) w
    on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do nothing
)
select bucket_start from opened
