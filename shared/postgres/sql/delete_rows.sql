delete from {table}
where ctid = any (array(select ctid from {table} where metric_id = $2 limit $1))
