delete from metric_registry r
where r.metric_id = $1
  and r.deleted_at is not null
  and not exists (select from metrics_data d where d.metric_id = r.metric_id)
