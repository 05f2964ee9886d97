insert into stream_holes (function, stream, after_id, next_id, removed, first_id, reason)
select $1, $2, h.after_id, h.next_id, h.removed, h.first_id, $3
from unnest($4::text[], $5::text[], $6::bigint[], $7::text[]) as h (after_id, next_id, removed, first_id)
on conflict (function, stream, after_id) do update
set next_id = excluded.next_id, removed = excluded.removed, first_id = excluded.first_id,
    reason = excluded.reason, accepted_at = now()
