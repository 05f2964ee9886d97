select t.chain, t.event_type
from unnest($1::text[], $2::text[]) as p (chain, event_type)
join stream_types t using (chain, event_type)
where t.left_out > 0
