-- Of each metric type, complexity and bucket size a metric with queued runs whose turn it is, unless somebody was asked lately of
-- one of them, and has not looked since. From now on somebody was. Who is asked carries out the others' runs too.
with waiting as (
    select distinct on (m.type, m.definition ->> 'complexity', s.bucket_size) m.metric_id, s.bucket_size
    from metric_registry m
    cross join lateral jsonb_array_elements_text(m.definition -> 'bucket_sizes') as s (bucket_size)
    where m.deleted_at is null
      and m.paused_at is null
      and exists (
          select
          from runs r
          where r.metric_id = m.metric_id
            and r.bucket_size = s.bucket_size
            and r.state = 'queued'
            and r.not_before <= clock_timestamp()
            and not exists (
                select
                from runs o
                where o.metric_id = r.metric_id
                  and o.bucket_size = r.bucket_size
                  and o.chain = r.chain
                  and o.bucket_start = r.bucket_start
                  and o.state = 'running'
            )
      )
      and not exists (
          select
          from run_requests q
          join metric_registry o using (metric_id)
          where o.type = m.type
            and o.definition ->> 'complexity' = m.definition ->> 'complexity'
            and q.bucket_size = s.bucket_size
            and q.asked_at >= clock_timestamp() - $1::interval
      )
    order by m.type, m.definition ->> 'complexity', s.bucket_size, m.metric_id
), asked as (
    insert into run_requests (metric_id, bucket_size, asked_at)
    select metric_id, bucket_size, clock_timestamp()
    from waiting
    order by metric_id, bucket_size
    on conflict (metric_id, bucket_size) do update
    set asked_at = excluded.asked_at
    where run_requests.asked_at < clock_timestamp() - $1::interval
    returning metric_id, bucket_size
)
select m.name, m.type, a.bucket_size, m.definition ->> 'complexity'
from asked a
join metric_registry m using (metric_id)
order by a.metric_id, a.bucket_size
