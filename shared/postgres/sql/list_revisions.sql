select v.revision_id, m.name, v.bucket_size, v.chain, v.bucket_start, v.dimensions::jsonb, v.reason, v.run_id, v.old_value::text,
       v.new_value::text, v.old_value_json, v.new_value_json, v.revised_at
from bucket_revisions v
join metric_registry m using (metric_id)
where m.deleted_at is null
  and ($1 = '' or m.name = $1)
  and ($2 = '' or v.bucket_size = $2)
  and ($3 = '' or v.reason = $3)
  and v.bucket_start >= $4
  and v.bucket_start < $5
order by v.revision_id desc
limit $6
