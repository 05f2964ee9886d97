-- The chains and bucket sizes of a metric whose history was not requested, or not all of it, with the chain times of the first
-- and the last archived event, null where there is none. The metric's events of the chain belong to the stream.
select t.chain, s.size, t.first, t.last
from (
    select o.chain, min(e.first) as first, max(e.last) as last
    from stream_types o
    cross join lateral (
        select min(c.event_time) as first, max(c.event_time) as last
        from chain_events c
        where c.chain = o.chain and c.event_type = o.event_type and c.event_time >= '2009-01-01Z'
    ) e
    where o.stream = $2 and o.event_type = any ($3) and o.chain = any ($5)
    group by o.chain
) t
cross join unnest($4::text[]) as s (size)
where not exists (
    select
    from schedules d
    where d.metric_id = $1 and d.bucket_size = s.size and d.chain = t.chain and d.history_until is null
)
order by t.chain, s.size
