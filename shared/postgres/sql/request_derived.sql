-- Looks at the next windows of a derived metric that are final in the first of its dependencies, and requests runs of those that are in
-- all. Gives the start of the last one; null: there were none.
with ahead as (
    select f.bucket_start
    from derived_history h
    join derived_metrics d using (metric_id)
    join metric_registry m on m.name = d.dependencies ->> 0 and m.deleted_at is null
    join final_windows f
        on f.metric_id = m.metric_id
        and f.bucket_size = h.bucket_size
        and f.chain = h.chain
        and f.bucket_start > h.requested_until
    where h.metric_id = $1 and h.bucket_size = $2 and h.chain = $3
    order by f.bucket_start
    limit $4
), requested as (
    insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
    select $1, $2, $3, bucket_start, 'dependency'
    from ahead
    where not lacks_dependency($1, $2, $3, bucket_start)
    order by bucket_start
    on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do update
    set reason = excluded.reason
)
select max(bucket_start) from ahead
