select w.function, w.stream, w.entry_id, w.content_hash, w.low_water, w.updated_at, w.detached_at,
       exists (select from hand_overs o where o.function = w.function and o.stream = w.stream),
       (
           select count(*)
           from pending_ranges p
           where p.function = w.function and p.stream = w.stream and p.metric_id is null
       ),
       coalesce(
           (
               select jsonb_agg(
                   jsonb_build_object(
                       'after', h.after_id, 'next', h.next_id, 'removed', h.removed, 'first', h.first_id
                   )
               )
               from stream_holes h
               where h.function = w.function and h.stream = w.stream
           ),
           '[]'
       )
from stream_watermarks w
where $1 = '' or w.stream = $1
order by w.stream, w.function
