-- Records what buckets of a partition show before they get other values, where their window has been final. $9 is the lease of the
-- runs that change them; null: the stream does.
insert into bucket_revisions (
    metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, reason, run_id, old_value, old_value_json, new_value,
    new_value_json
)
select b.metric_id, b.bucket_size, b.bucket_start, b.bucket_end, b.chain, b.dimensions,
       case
           when $9::bigint is null then 'late'
           when w.base_version < m.calculation_version then 'definition'
           else revision_reason(r.reason)
       end,
       r.run_id, d.value, d.value_json, b.value, b.value_json
from (
    select k.metric_id, k.bucket_size, k.bucket_start, k.bucket_end, k.chain, k.dimensions, k.value::numeric as value,
           k.value_json::jsonb as value_json
    from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[])
        as k (metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, value, value_json)
) b
join windows w using (metric_id, bucket_size, bucket_start, chain)
join metric_registry m using (metric_id)
left join {table} d using (metric_id, bucket_size, bucket_start, chain, dimensions)
left join runs r on r.lease = $9 and r.bucket_start = b.bucket_start
where (w.final or w.finalized_at is not null)
  and (d.value, d.value_json) is distinct from (b.value, b.value_json)
