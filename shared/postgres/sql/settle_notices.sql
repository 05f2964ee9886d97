-- What was sent meanwhile by another stays sent.
update outbox o
set sent_at = case when s.outcome = 'sent' then clock_timestamp() end,
    refusals = o.refusals + case when s.outcome = 'refused' then 1 else 0 end,
    error = nullif(s.error, '')
from unnest($1::bigint[], $2::text[], $3::text[]) as s (outbox_id, outcome, error)
where o.outbox_id = s.outbox_id and o.sent_at is null
