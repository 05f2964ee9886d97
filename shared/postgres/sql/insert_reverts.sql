insert into pending_reverts (function, stream, entry_id, ancestor_id, ancestor_number, ancestor_hash)
select $1, $2, r.entry_id, r.ancestor_id, r.ancestor_number::numeric, r.ancestor_hash
from unnest($3::text[], $4::text[], $5::text[], $6::text[]) as r (entry_id, ancestor_id, ancestor_number, ancestor_hash)
on conflict do nothing
