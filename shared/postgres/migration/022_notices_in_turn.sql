-- Notices that others act on are found before those that only tell of windows that are final, or no longer, of which there may be very many.

create index outbox_urgent on outbox ((error is not null), outbox_id)
    where sent_at is null and type not in ('dev.chainmetrics.bucket.finalized.v1', 'dev.chainmetrics.bucket.revised.v1');
create index outbox_of_windows on outbox ((error is not null), outbox_id)
    where sent_at is null and type in ('dev.chainmetrics.bucket.finalized.v1', 'dev.chainmetrics.bucket.revised.v1');
