-- Notices that others act on are found before those that only tell of final windows, of which a history makes very many.

create index outbox_urgent on outbox ((error is not null), outbox_id)
    where sent_at is null and type <> 'dev.chainmetrics.bucket.finalized.v1';
create index outbox_finalized on outbox ((error is not null), outbox_id)
    where sent_at is null and type = 'dev.chainmetrics.bucket.finalized.v1';
