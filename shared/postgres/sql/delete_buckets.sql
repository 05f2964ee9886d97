delete from {partition}
where ctid = any (array(select ctid from {partition} where metric_id = $1 limit $2))
