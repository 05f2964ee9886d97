select stream, chain, count(*), sum(from_height - height_before - 1)::bigint
from (
    select stream, chain, from_height, lag(to_height) over (partition by stream, chain order by from_height) as height_before
    from coverage_segments
) segments
where height_before is not null
group by stream, chain
order by stream, chain
