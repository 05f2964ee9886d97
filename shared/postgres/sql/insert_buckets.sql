insert into metrics_data (
    metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, value, value_json, state, generation
)
select b.metric_id, b.bucket_size, b.bucket_start, b.bucket_end, b.chain, b.dimensions,
       b.value::numeric, b.value_json::jsonb, b.state, b.generation
from unnest(
    $1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[],
    $7::text[], $8::text[], $9::bytea[], $10::bigint[]
) as b (metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, value, value_json, state, generation)
