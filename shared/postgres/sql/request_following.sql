-- Requests runs of those of some windows that fail a check, which may compare them with the ones before.
insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
select distinct c.metric_id, c.bucket_size, c.chain, c.bucket_start, 'backfill'
from check_failures c
where c.metric_id = $1 and c.bucket_size = $2 and c.chain = $3 and c.bucket_start = any ($4)
order by c.bucket_start
on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do nothing
