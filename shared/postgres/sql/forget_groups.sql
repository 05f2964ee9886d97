delete from notification_groups g
where g.next_at < clock_timestamp() - $1::interval
  and g.leased_until < clock_timestamp()
  and not exists (select from notifications n where n.group_id = g.group_id)
