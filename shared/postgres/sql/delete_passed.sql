delete from pending_ranges
where function = $1
  and stream = $2
  and metric_id is null
  and after_id = $3
  and until_id = $4
