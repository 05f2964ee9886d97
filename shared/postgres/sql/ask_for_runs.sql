-- Metrics and bucket sizes with queued runs whose turn it is, but for those of which somebody was asked lately. From now on
-- somebody was.
with asked as (
    insert into run_requests (metric_id, bucket_size, asked_at)
    select m.metric_id, s.bucket_size, clock_timestamp()
    from metric_registry m
    cross join lateral jsonb_array_elements_text(m.definition -> 'bucket_sizes') as s (bucket_size)
    where m.deleted_at is null
      and exists (select from claimable_runs c where c.metric_id = m.metric_id and c.bucket_size = s.bucket_size)
    order by m.metric_id, s.bucket_size
    on conflict (metric_id, bucket_size) do update
    set asked_at = excluded.asked_at
    where run_requests.asked_at < clock_timestamp() - $1::interval
    returning metric_id, bucket_size
)
select a.metric_id, m.name, m.type, a.bucket_size, m.definition ->> 'complexity'
from asked a
join metric_registry m using (metric_id)
order by a.metric_id, a.bucket_size
