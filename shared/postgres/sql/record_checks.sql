-- What windows that were checked fail; what they pass is forgotten. Others are told of what a window has not failed like this before.
with failing as (
    select *
    from unnest($5::timestamptz[], $6::text[], $7::text[], $8::text[]) as f (bucket_start, check_name, severity, message)
), passing as (
    delete from check_failures c
    where c.metric_id = $1
      and c.bucket_size = $2
      and c.chain = $3
      and c.bucket_start = any ($4)
      and not exists (select from failing f where f.bucket_start = c.bucket_start and f.check_name = c.check_name)
), changed as (
    insert into check_failures as c (metric_id, bucket_size, bucket_start, chain, check_name, severity, message, run_id)
    select $1, $2, f.bucket_start, $3, f.check_name, f.severity, f.message, r.run_id
    from failing f
    left join runs r on r.lease = $9 and r.bucket_start = f.bucket_start
    on conflict (metric_id, bucket_size, bucket_start, chain, check_name) do update
    set severity = excluded.severity, message = excluded.message, run_id = excluded.run_id, failed_at = excluded.failed_at
    where c.severity <> excluded.severity or c.message <> excluded.message
    returning c.*
)
insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, run_id, details)
select 'dev.chainmetrics.check.failed.v1', m.name, m.type, m.definition ->> 'complexity', $2, c.bucket_start, $3, c.run_id,
       jsonb_build_object('check', c.check_name, 'severity', c.severity, 'message', c.message)
from changed c
join metric_registry m on m.metric_id = $1
order by c.bucket_start, c.check_name
