update coverage_segments
set to_height = $4, to_time = $5, low_water = $6, last_hash = $7, entry_major = $8, entry_minor = $9
where stream = $1 and chain = $2 and from_height = $3
