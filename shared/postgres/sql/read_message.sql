select n.payload, count(*) over ()
from notifications n
where n.group_id = $1 and n.state = 'queued' and n.message = $2
order by n.notification_id
limit $3
