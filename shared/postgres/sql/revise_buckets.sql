-- Records what buckets of a partition show before they get other values, where their window was published. $9 is the lease of the runs
-- that change them; null: the stream does. Everything is looked up by its key, whatever is known of the tables.
insert into bucket_revisions (
    metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, reason, run_id, old_value, old_value_json, new_value,
    new_value_json
)
select b.metric_id, b.bucket_size, b.bucket_start, b.bucket_end, b.chain, b.dimensions,
       case
           when $9::bigint is null then 'late'
           when w.base_version < m.calculation_version then 'definition'
           else revision_reason(r.reason, b.metric_id, b.bucket_size, b.chain, b.bucket_start)
       end,
       r.run_id, d.value, d.value_json, b.value, b.value_json
from (
    select k.metric_id, k.bucket_size, k.bucket_start, k.bucket_end, k.chain, k.dimensions, k.value::numeric as value,
           k.value_json::jsonb as value_json
    from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[])
        as k (metric_id, bucket_size, bucket_start, bucket_end, chain, dimensions, value, value_json)
) b
cross join lateral (
    select v.base_version
    from windows v
    where v.metric_id = b.metric_id
      and v.bucket_size = b.bucket_size
      and v.bucket_start = b.bucket_start
      and v.chain = b.chain
      and (v.final or v.finalized_at is not null)
    limit 1
) w
join metric_registry m using (metric_id)
left join lateral (
    select t.value, t.value_json
    from {table} t
    where t.metric_id = b.metric_id
      and t.bucket_size = b.bucket_size
      and t.bucket_start = b.bucket_start
      and t.chain = b.chain
      and t.dimensions = b.dimensions
    limit 1
) d on true
left join lateral (
    select o.run_id, o.reason
    from runs o
    where o.lease = $9 and o.bucket_start = b.bucket_start
    limit 1
) r on true
where (d.value, d.value_json) is distinct from (b.value, b.value_json)
