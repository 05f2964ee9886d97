-- What is queued becomes part of a message, unless that has its notifications: then they are sent again as they were.
update notifications
set message = $2
where group_id = $1
  and state = 'queued'
  and message is null
  and not exists (select from notifications where group_id = $1 and state = 'queued' and message = $2)
