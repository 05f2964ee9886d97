delete from outbox
where outbox_id in (
    select outbox_id from outbox where sent_at < $1
    union all
    select outbox_id from outbox where sent_at is null and refusals >= $2 and created_at < $1
    limit $3
)
