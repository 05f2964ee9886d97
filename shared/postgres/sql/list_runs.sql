select r.run_id, m.name, r.bucket_size, r.chain, r.bucket_start, r.reason, r.state, r.attempt, r.not_before, r.requested_at,
       r.started_at, r.finished_at, r.observations, r.buckets, r.changes, r.definition_version, r.refused, r.error, r.code_version,
       r.trace_id
from runs r
join metric_registry m using (metric_id)
where ($1 = '' or m.name = $1)
  and ($2 = '' or r.bucket_size = $2)
  and ($3 = '' or r.state = $3)
  and ($5 = 0 or r.run_id = $5)
order by coalesce(r.finished_at, r.started_at, r.requested_at) desc, r.run_id desc
limit $4
