-- When the first archived event of a metric happened on a chain, and the first window of a size that has buckets of another
-- calculation: those of a type of event that came for the first time after the change are still there.
select (
           select min(f.event_time)
           from jsonb_array_elements_text(event_types(r.definition)) as t (event_type)
           cross join lateral (
               select min(c.event_time) as event_time
               from chain_events c
               where c.chain = $3 and c.event_type = t.event_type and c.event_time >= '2009-01-01Z'
           ) f
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
