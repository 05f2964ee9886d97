-- Requests a run of the window after one that may have changed, where that fails a check, which may compare the two. The run of that one
-- goes no further, unless it changes something.
insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
select distinct $1, $2, $3, c.bucket_start, 'backfill'
from runs r
join check_failures c on c.metric_id = $1 and c.bucket_size = $2 and c.chain = $3 and c.bucket_start = $5
where r.lease = $6
  and r.bucket_start = $4
  and ($7 > 0 or r.reason <> 'backfill') -- what comes late was merged before the run
on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do nothing
