-- The functions of a stream, with whether each may be moved to the archive's watermark, and whether it is detached.
select w.function, w.entry_id, exists (select from hand_overs o where o.function = w.function and o.stream = w.stream),
    w.detached_at is not null
from stream_watermarks w
where w.stream = $1
order by w.function
for update of w
