-- The blocks that the archive has of some heights, taken back ones left out.
select block_number, content_hash, coalesce(parent_hash, '')
from archived_entries
where stream = $1 and block_number = any ($2) and entry_minor > 0 and reverted_by_major is null
union all
select block_number, content_hash, coalesce(parent_hash, '')
from imported_entries
where stream = $1 and block_number = any ($2) and reverted_by_major is null
