update imported_entries
set reverted_by_major = $2, reverted_by_minor = $3
where stream = $1 and block_number > $4 and reverted_by_major is null
