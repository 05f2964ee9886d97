-- Notices that wait to be sent, since when the oldest of them does, and those that are not sent any more, with the newest error of each.
select count(*) filter (where refusals < $1),
       min(created_at) filter (where refusals < $1),
       coalesce((array_agg(error order by outbox_id desc) filter (where refusals < $1 and error is not null))[1], ''),
       count(*) filter (where refusals >= $1),
       coalesce((array_agg(error order by outbox_id desc) filter (where refusals >= $1 and error is not null))[1], '')
from outbox
where sent_at is null
