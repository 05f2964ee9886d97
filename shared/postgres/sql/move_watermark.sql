update stream_watermarks
set entry_id = $3,
    content_hash = $4,
    low_water = $5,
    highest_low_water = greatest(highest_low_water, low_water, $5),
    updated_at = now()
where function = $1 and stream = $2
