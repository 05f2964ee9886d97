insert into pending_ranges (function, stream, after_id, until_id)
values ($1, $2, $3, $4)
