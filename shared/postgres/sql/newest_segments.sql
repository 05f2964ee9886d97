select distinct on (chain) chain, from_height, to_height, last_hash
from coverage_segments
where stream = $1
order by chain, from_height desc
