-- A window of which a run was requested meanwhile is left to that one.
update windows w
set cut = null,
    sets = null,
    base_version = $6,
    final = w.bucket_start < $7 and not exists (
        select
        from runs q
        where q.metric_id = w.metric_id
          and q.bucket_size = w.bucket_size
          and q.chain = w.chain
          and q.bucket_start = w.bucket_start
          and q.state = 'queued'
    )
where w.metric_id = $1
  and w.bucket_size = $2
  and w.bucket_start >= $3
  and w.bucket_start < $4
  and w.chain = $5
