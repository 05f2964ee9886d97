insert into windows (metric_id, bucket_size, bucket_start, chain, generation, cut)
select w.metric_id, w.bucket_size, w.bucket_start, w.chain, $5, $6
from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::text[])
    as w (metric_id, bucket_size, bucket_start, chain)
on conflict (metric_id, bucket_size, bucket_start, chain) do update
set generation = excluded.generation, cut = excluded.cut
