insert into dead_letters (stream, entry_id, reason, content, content_length)
select $1, d.entry_id, d.reason, d.content, d.content_length
from unnest($2::text[], $3::text[], $4::bytea[], $5::bigint[]) as d (entry_id, reason, content, content_length)
on conflict (stream, entry_id) do update
set reason = dead_letters.reason || '; ' || excluded.reason
where excluded.reason like 'quarantined: %' and position(excluded.reason in dead_letters.reason) = 0
