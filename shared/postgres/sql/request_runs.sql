insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
select $1, $2, $3, w.bucket_start, $5
from unnest($4::timestamptz[]) with ordinality as w (bucket_start, place)
order by w.place
on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do nothing
