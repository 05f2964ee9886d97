-- Who has lost the lease notes nothing: another sends the message again.
with ended as (
    update notification_groups
    set lease = null,
        leased_until = '-infinity',
        next_at = clock_timestamp() + $5,
        message = case when $4 = 'queued' then message end,
        attempts = case when $4 = 'queued' then attempts + 1 else 0 end
    where group_id = $1 and lease = $2
    returning group_id
)
update notifications n
set state = $4,
    attempts = n.attempts + 1,
    error = nullif($6, ''),
    settled_at = case when $4 <> 'queued' then clock_timestamp() end
from ended e
where n.group_id = e.group_id
  and n.state = 'queued'
  and n.message = $3
