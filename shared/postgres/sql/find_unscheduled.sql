-- The chains and bucket sizes of a metric of which no window was ever requested, with the chain times of the first and the last
-- archived event. The metric's events of the chain belong to the stream.
select t.chain, s.size, e.first, e.last
from stream_types t
cross join unnest($4::text[]) as s (size)
cross join lateral (
    select min(c.event_time) as first, max(c.event_time) as last
    from chain_events c
    where c.chain = t.chain and c.event_type = t.event_type and c.event_time >= '2009-01-01Z'
) e
where t.stream = $2
  and t.event_type = $3
  and t.chain = any ($5)
  and e.first is not null
  and not exists (
      select from schedules d where d.metric_id = $1 and d.bucket_size = s.size and d.chain = t.chain
  )
order by t.chain, s.size
