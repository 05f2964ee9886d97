delete from {table}
where ctid = any (array(
    select ctid
    from {table}
    where metric_id = $2 and (bucket_size = any ($3) or chain = any ($4))
    limit $1
))
