insert into dead_letters (stream, entry_id, reason, content, content_length)
select $1, d.entry_id, d.reason, d.content, d.content_length
from unnest($2::text[], $3::text[], $4::bytea[], $5::bigint[]) as d (entry_id, reason, content, content_length)
on conflict do nothing
