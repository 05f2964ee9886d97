-- Notifications that could not be sent yet, since when the oldest of them waits, and those that were given up, with the newest error of each.
select (select count(*) from notifications where state = 'queued' and attempts > 0),
       (select min(created_at) from notifications where state = 'queued' and attempts > 0),
       coalesce((select error from notifications where state = 'queued' and attempts > 0 order by notification_id desc limit 1), ''),
       (select count(*) from notifications where state = 'failed' and settled_at > clock_timestamp() - $1::interval),
       coalesce((select error from notifications where state = 'failed' and settled_at > clock_timestamp() - $1::interval
                 order by settled_at desc limit 1), '')
