insert into stream_holes (function, stream, after_id, next_id, removed, first_id, reason, healed)
select $1, $2, h.after_id, h.next_id, h.removed, h.first_id, $3, $4
from unnest($5::text[], $6::text[], $7::bigint[], $8::text[]) as h (after_id, next_id, removed, first_id)
on conflict (function, stream, after_id) do update
set next_id = excluded.next_id, removed = excluded.removed, first_id = excluded.first_id,
    reason = excluded.reason, healed = stream_holes.healed and excluded.healed, accepted_at = now()
