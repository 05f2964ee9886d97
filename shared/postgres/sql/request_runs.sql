-- Of a run that is queued already the reason stays, unless the new one explains changes of the window.
insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
select $1, $2, $3, w.bucket_start, $5
from unnest($4::timestamptz[]) with ordinality as w (bucket_start, place)
order by w.place
on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do update
set reason = excluded.reason
where explains_changes(excluded.reason) and runs.reason <> excluded.reason
