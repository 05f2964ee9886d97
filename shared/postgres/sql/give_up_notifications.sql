-- What nobody has told for so long that it is no news: by a channel that there is no more, or though it was due long ago. A message that is
-- being sent is left alone.
with stale as materialized (
    select g.group_id, not g.channel = any ($1) as closed
    from notification_groups g
    where (not g.channel = any ($1) or g.next_at < clock_timestamp() - $3::interval)
      and g.leased_until < clock_timestamp()
      and exists (
          select from notifications n
          where n.group_id = g.group_id and n.state = 'queued' and n.created_at < clock_timestamp() - $2::interval
      )
    for no key update skip locked
), begun_anew as (
    update notification_groups g
    set message = null, attempts = 0
    from stale s
    where g.group_id = s.group_id
)
update notifications n
set state = 'failed',
    message = null,
    error = case when s.closed then 'the channel is not configured any more' else 'it was not sent in time, and is no news any more' end
        || coalesce(': ' || n.error, ''),
    settled_at = clock_timestamp()
from stale s
where n.group_id = s.group_id and n.state = 'queued' and n.created_at < clock_timestamp() - $2::interval
