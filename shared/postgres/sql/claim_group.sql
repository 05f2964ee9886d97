-- The group that has waited longest, of those in which something is to be sent now. The condition on next_at comes with the lock: who
-- has waited for another claim does not take the group after it.
with due as materialized (
    select g.group_id
    from notification_groups g
    where g.channel = $1
      and g.next_at <= clock_timestamp()
      and g.leased_until <= clock_timestamp()
      and exists (select from notifications n where n.group_id = g.group_id and n.state = 'queued')
    order by g.next_at, g.group_id
    limit 1
    for no key update skip locked
), claimed as materialized (
    select group_id, nextval('notification_claim') as lease from due
)
update notification_groups g
set lease = c.lease,
    leased_until = clock_timestamp() + $2,
    message = coalesce(g.message, c.lease)
from claimed c
where g.group_id = c.group_id
returning g.group_id, g.lease, g.message, g.attempts, g.recipient, g.about
