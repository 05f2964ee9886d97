select s.chain, s.from_height, s.to_height, s.last_hash
from (select distinct chain from stream_types where stream = $1) t
cross join lateral (
    select *
    from coverage_segments
    where stream = $1 and chain = t.chain
    order by from_height desc
    limit 1
) s
