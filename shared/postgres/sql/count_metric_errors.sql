insert into metric_errors as e (metric_id, stream, reason, count, sample_entry_id)
select n.metric_id, $1, n.reason, n.count, n.sample_entry_id
from unnest($2::bigint[], $3::text[], $4::bigint[], $5::text[]) as n (metric_id, reason, count, sample_entry_id)
on conflict (metric_id, stream, reason) do update
set count           = e.count + excluded.count,
    sample_entry_id = excluded.sample_entry_id,
    last_seen       = now()
