delete from notifications
where notification_id in (
    select notification_id
    from notifications
    where created_at < clock_timestamp() - $1::interval and state <> 'queued'
    limit $2
)
