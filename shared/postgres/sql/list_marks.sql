select w.function, w.stream, w.entry_id, w.content_hash, w.updated_at,
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
