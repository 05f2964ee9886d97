-- Requests runs of all windows that fail a check of a metric, whose checks are others now.
insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
select distinct c.metric_id, c.bucket_size, c.chain, c.bucket_start, 'backfill'
from check_failures c
join metric_registry m using (metric_id)
where c.metric_id = $1
  and m.definition -> 'bucket_sizes' ? c.bucket_size
  and m.definition -> 'chains' ? c.chain
order by 1, 2, 3, 4
on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do nothing
