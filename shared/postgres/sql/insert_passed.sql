-- A range that begins at the same entry, and is not resolved yet, is a part of this one.
insert into pending_ranges (function, stream, after_id, until_id)
values ($1, $2, $3, $4)
on conflict (function, stream, metric_id, after_id) do update set until_id = excluded.until_id
