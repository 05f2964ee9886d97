on conflict (metric_id, bucket_size, bucket_start, chain, dimensions) do update
set value      = excluded.value,
    value_json = excluded.value_json,
    state      = excluded.state,
    updated_at = now()
