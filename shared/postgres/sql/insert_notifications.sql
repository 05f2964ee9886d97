-- A group that was deleted a moment ago violates the check: then the event is taken when it comes again.
insert into notifications (event_source, event_id, destination, type, metric, payload, channel, recipient, state, error, group_id)
select $1, $2, $3, $4, nullif($5, ''), $6::json, n.channel, n.recipient, case when n.silent then 'silent' else 'queued' end,
       nullif(n.reason, ''), case when not n.silent then g.group_id end
from unnest($7::text[], $8::text[], $9::text[], $10::boolean[], $11::text[]) as n (channel, recipient, about, silent, reason)
left join notification_groups g using (channel, recipient, about)
on conflict do nothing
