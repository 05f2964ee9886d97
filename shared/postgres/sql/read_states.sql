-- Reads one partition by its name: the plan and the cost of a read of the parent table would grow with every partition.
-- The limit keeps the planner from any other way than one look into the primary key for each of the buckets.
select k.place, b.state, b.generation, b.next_state, b.next_generation
from unnest($2::bigint[], $3::timestamptz[], $4::text[], $5::text[])
    with ordinality as k (metric_id, bucket_start, chain, dimensions, place)
cross join lateral (
    select p.state, p.generation, p.next_state, p.next_generation
    from {table} p
    where p.metric_id = k.metric_id
      and p.bucket_size = $1
      and p.bucket_start = k.bucket_start
      and p.chain = k.chain
      and p.dimensions = k.dimensions
    limit 1
) b
