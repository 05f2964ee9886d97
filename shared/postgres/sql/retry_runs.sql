-- Queues the windows of runs once more. Those that are queued already, and wait for another attempt, wait no longer.
insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
select distinct on (r.metric_id, r.bucket_size, r.chain, r.bucket_start)
       r.metric_id, r.bucket_size, r.chain, r.bucket_start, r.reason
from runs r
where r.run_id = any ($1)
order by r.metric_id, r.bucket_size, r.chain, r.bucket_start, r.run_id desc
on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do update
set not_before = least(runs.not_before, excluded.not_before)
