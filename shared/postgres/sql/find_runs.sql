-- The queued runs of a metric, bucket size and chain that may be begun, by window: one that is being computed waits, and what depends
-- on the past and lies after one that has to.
select r.run_id, r.bucket_start, r.attempt
from runs r
where r.metric_id = $1
  and r.bucket_size = $2
  and r.chain = $3
  and r.state = 'queued'
  and r.not_before <= clock_timestamp()
  and r.bucket_start <= (
      select case
                 when coalesce((m.definition ->> 'depends_on_past')::boolean, false)
                 then coalesce(blocked_from($1, $2, $3), 'infinity')
                 else 'infinity'
             end
      from metric_registry m
      where m.metric_id = $1
  )
  and ( -- looked up for one row after the other, until there are enough: not exists would be joined with all that is queued
      select count(*)
      from runs o
      where o.metric_id = r.metric_id
        and o.bucket_size = r.bucket_size
        and o.chain = r.chain
        and o.bucket_start = r.bucket_start
        and o.state = 'running'
  ) = 0
order by r.bucket_start
limit $4
