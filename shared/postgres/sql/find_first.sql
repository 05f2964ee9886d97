-- When the first archived event of a metric happened on a chain, and the first window of a size that has buckets of another
-- calculation: those of a type of event that came for the first time after the change are still there.
select (
           select min(c.event_time)
           from chain_events c
           where c.chain = $3
             and c.event_type = r.definition #>> '{calculation_logic,stream,event_type}'
             and c.event_time >= '2009-01-01Z'
       ),
       (
           select min(d.bucket_start)
           from metrics_data d
           where d.metric_id = r.metric_id
             and d.bucket_size = $2
             and d.chain = $3
             and d.generation < r.oldest_generation
       )
from metric_registry r
where r.metric_id = $1
