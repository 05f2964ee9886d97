insert into stream_types (chain, event_type, stream)
select p.chain, p.event_type, $1
from unnest($2::text[], $3::text[]) as p (chain, event_type)
on conflict (chain, event_type) do update -- fails, since stream is not null, where the pair belongs to another stream
set stream = case when stream_types.stream = excluded.stream then excluded.stream end
