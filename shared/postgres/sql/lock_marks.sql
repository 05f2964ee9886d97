-- The functions of a stream, with whether each may be moved to the archive's watermark.
select w.function, w.entry_id, exists (select from hand_overs o where o.function = w.function and o.stream = w.stream)
from stream_watermarks w
where w.stream = $1
order by w.function
for update of w
