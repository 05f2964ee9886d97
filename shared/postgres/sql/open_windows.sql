-- Takes finality from windows, for a reason that others are told.
with opened as (
    update windows w
    set final = false, finalized_at = coalesce(w.finalized_at, '-infinity')
    from ( -- locked in the order in which all lock them
        select bucket_start
        from windows
        where metric_id = $1 and bucket_size = $2 and chain = $3 and bucket_start = any ($4) and final
        order by bucket_start
        for update
    ) l
    where w.metric_id = $1 and w.bucket_size = $2 and w.chain = $3 and w.bucket_start = l.bucket_start and w.final
    returning w.bucket_start
)
insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, details)
select 'dev.chainmetrics.bucket.revised.v1', m.name, m.type, m.definition ->> 'complexity', $2, o.bucket_start, $3,
       jsonb_build_object('reason', $5::text)
from opened o
join metric_registry m on m.metric_id = $1
