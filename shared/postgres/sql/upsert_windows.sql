insert into windows (metric_id, bucket_size, bucket_start, chain, sets)
select w.metric_id, w.bucket_size, w.bucket_start, w.chain, w.sets
from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::text[], $5::bigint[])
    as w (metric_id, bucket_size, bucket_start, chain, sets)
on conflict (metric_id, bucket_size, bucket_start, chain) do update
set sets = excluded.sets
