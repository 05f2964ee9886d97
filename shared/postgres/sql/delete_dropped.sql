-- Not what the metric has again, and it gets nothing again before this is committed.
delete from {table}
where ctid = any (array(
    select t.ctid
    from {table} t
    join (select definition from metric_registry where metric_id = $2 for share) r
        on not (r.definition -> 'bucket_sizes' ? t.bucket_size and r.definition -> 'chains' ? t.chain)
    where t.metric_id = $2 and (t.bucket_size = any ($3) or t.chain = any ($4))
    limit $1
))
