-- Windows of a metric, from a start on, that have buckets of another calculation. The next one is looked up, however many buckets
-- lie between.
with recursive outdated (bucket_start) as (
    (
        select bucket_start
        from metrics_data
        where metric_id = $1 and bucket_size = $2 and chain = $3 and generation < $4 and bucket_start >= $5
        order by bucket_start
        limit 1
    )
    union all
    select (
        select d.bucket_start
        from metrics_data d
        where d.metric_id = $1 and d.bucket_size = $2 and d.chain = $3 and d.generation < $4 and d.bucket_start > o.bucket_start
        order by d.bucket_start
        limit 1
    )
    from outdated o
    where o.bucket_start is not null
)
select bucket_start from outdated where bucket_start is not null limit $6
