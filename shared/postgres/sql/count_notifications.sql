-- Notifications that are not sent though they should have been, or with a message that could not be, since when the oldest of them
-- waits, and those that were given up, with the newest error of each.
with waiting as materialized (
    select n.notification_id, n.created_at, n.error
    from notifications n
    join notification_groups g using (group_id)
    where n.state = 'queued'
      and (g.attempts > 0 or n.attempts > 0 or greatest(n.created_at, g.next_at) < clock_timestamp() - $2::interval)
)
select (select count(*) from waiting),
       (select min(created_at) from waiting),
       coalesce((select error from waiting where error is not null order by notification_id desc limit 1), ''),
       (select count(*) from notifications where state = 'failed' and settled_at > clock_timestamp() - $1::interval),
       coalesce((select error from notifications where state = 'failed' and settled_at > clock_timestamp() - $1::interval
                 order by settled_at desc limit 1), '')
