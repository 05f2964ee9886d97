-- Notices for others: written where something becomes true, sent by the scheduler. And what the scheduler has asked for.

create table outbox (
    outbox_id    bigint generated always as identity primary key,
    type         text not null,
    metric       text collate "C" not null,
    metric_type  text not null,
    complexity   text not null,
    bucket_size  text,
    bucket_start timestamptz,
    chain        text,
    run_id       bigint,
    details      jsonb not null,
    created_at   timestamptz not null default clock_timestamp(),
    leased_until timestamptz not null default '-infinity',
    sent_at      timestamptz,
    refusals     integer not null default 0,
    error        text
);

create index outbox_unsent on outbox (outbox_id) where sent_at is null;
create index outbox_sent on outbox (sent_at) where sent_at is not null;

comment on table outbox is
    'CloudEvents that say what has become true, each from the transaction that made it true. Each is sent at least once, in any '
    'order; those that were, or that were refused too often, are kept for a week.';
comment on column outbox.outbox_id is 'The id of the CloudEvent, whenever it is sent.';
comment on column outbox.type is 'The type of the CloudEvent.';
comment on column outbox.metric is 'Name of the metric, which may have been deleted since.';
comment on column outbox.metric_type is 'Its type, which is also the name of the function whose CloudEvent it is.';
comment on column outbox.bucket_size is 'With bucket_start and chain, the window; null where the metric as a whole is meant.';
comment on column outbox.run_id is 'The run that made it true; null where none did.';
comment on column outbox.details is 'What the data of its type has beyond that.';
comment on column outbox.leased_until is 'Until then it is being sent. Afterwards, if it was not noted as sent, it is sent again.';
comment on column outbox.sent_at is 'When the Broker had taken it.';
comment on column outbox.refusals is 'How often the Broker has refused it for good. After the fifth time it is not sent any more.';
comment on column outbox.error is 'Why it could not be sent the last time.';

create function explains_changes(reason text) returns boolean
language sql immutable
as $$
    select reason not in ('due', 'late', 'backfill', 'cleared')
$$;

comment on function explains_changes is
    'Whether the reason of a run says that buckets of its window lack something. A change of one that does not is drift.';

create table run_requests (
    metric_id   bigint not null references metric_registry on delete cascade,
    bucket_size text collate "C" not null,
    asked_at    timestamptz not null,
    primary key (metric_id, bucket_size)
);

comment on table run_requests is
    'Metrics and bucket sizes of which the scheduler has asked a run function to carry out runs. A row goes when somebody has '
    'looked for them: until then, and for six minutes at most, nobody is asked again.';
