-- Notifications: what people are told of events, by mail and by webhook. Written by the function notify when an event comes, sent by
-- it, at once or when its tick comes.

create sequence notification_claim;

create table notification_groups (
    group_id     bigint generated always as identity primary key,
    channel      text collate "C" not null,
    recipient    text collate "C" not null,
    about        text collate "C" not null,
    next_at      timestamptz not null default '-infinity',
    message      bigint,
    attempts     integer not null default 0,
    lease        bigint,
    leased_until timestamptz not null default '-infinity',
    unique (channel, recipient, about)
);

comment on table notification_groups is
    'Notifications that are told together. One message of a group is sent at a time: the row is what processes exclude each other by.';
comment on column notification_groups.channel is 'How: mail, webhook.';
comment on column notification_groups.recipient is 'To whom: the address of a mail; of a webhook nothing.';
comment on column notification_groups.about is 'Type and metric of the events; of dead letters who did not take them.';
comment on column notification_groups.next_at is
    'No message is sent before. It lies after the last message by the group interval, or after a failed attempt by its back-off.';
comment on column notification_groups.message is 'The message that is to be sent next, which keeps its notifications; null where none was tried.';
comment on column notification_groups.attempts is 'How often sending that message has failed.';
comment on column notification_groups.lease is 'Whose attempt to send it is under way; null where none is.';
comment on column notification_groups.leased_until is 'Until then nobody else tries. Afterwards the same message may be sent again.';

create table notifications (
    notification_id bigint generated always as identity primary key,
    event_source    text collate "C" not null,
    event_id        text collate "C" not null,
    destination     text collate "C" not null default '',
    channel         text collate "C" not null,
    recipient       text collate "C" not null default '',
    type            text not null,
    metric          text collate "C",
    payload         json not null,
    group_id        bigint references notification_groups,
    state           text not null check (state in ('queued', 'sent', 'failed', 'silent')),
    message         bigint,
    attempts        integer not null default 0,
    error           text,
    created_at      timestamptz not null default clock_timestamp(),
    settled_at      timestamptz,
    unique (event_source, event_id, destination, channel, recipient),
    check (state = 'silent' or group_id is not null)
);

create index notifications_queued on notifications (group_id, message, notification_id) where state = 'queued';
create index notifications_failed on notifications (settled_at) where state = 'failed';
create index notifications_created on notifications (created_at);
create index notifications_group on notifications (group_id);

comment on table notifications is
    'One event, one channel, one recipient. An event that comes twice is told once. Those that are settled are kept for 30 days.';
comment on column notifications.event_source is 'The source of the CloudEvent, which with its id is unique.';
comment on column notifications.destination is
    'Of a dead letter, the URL that has not taken the event, since several may not take the same; empty for other events.';
comment on column notifications.channel is 'mail, webhook; none where nobody is to be told.';
comment on column notifications.recipient is 'The address of a mail; empty for other channels.';
comment on column notifications.type is 'The type of the CloudEvent, also of one that is a dead letter.';
comment on column notifications.metric is 'Name of the metric, which may have been deleted since; null where the event names none.';
comment on column notifications.payload is 'The CloudEvent. The data of a dead letter are left out where they are many.';
comment on column notifications.group_id is 'With what it is told; null where nobody is to be told.';
comment on column notifications.state is 'queued; sent; failed: given up; silent: nobody is to be told.';
comment on column notifications.message is 'With which others it is, or was, sent; null where it waits for the next message.';
comment on column notifications.attempts is 'How often it was tried to send it.';
comment on column notifications.error is 'Why the last attempt has failed; of a silent one, why nobody is told.';
comment on column notifications.settled_at is 'When it was sent, or given up.';

create function next_attempt(at timestamptz) returns jsonb
language sql stable
as $$
    select jsonb_build_object('next_attempt_at', to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
$$;

comment on function next_attempt is 'What a notice of an attempt that has failed says of the next one.';
