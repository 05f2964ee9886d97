-- Imports: what lies below the end of a stream, and did not come by it.

create table imported_entries (
    stream            text collate "C" not null,
    content_hash      text collate "C" not null,
    occurrence        integer not null check (occurrence > 0),
    entry_time        timestamptz not null,
    chain             text collate "C" not null,
    block_number      bigint,
    parent_hash       text collate "C",
    events            integer not null,
    reverted_by_major bigint,
    reverted_by_minor bigint,
    imported_at       timestamptz not null default now(),
    check ((reverted_by_major is null) = (reverted_by_minor is null))
);

create unique index imported_entries_content on imported_entries (stream, content_hash, occurrence)
    where reverted_by_major is null;
create unique index imported_entries_height on imported_entries (stream, block_number)
    where reverted_by_major is null and block_number is not null;

comment on table imported_entries is
    'What was imported into the archive: it belongs to the stream, which did not bring it. Its events are in chain_events, '
    'without the id of an entry.';
comment on column imported_entries.content_hash is 'As the entry would have had it: of a block its own hash.';
comment on column imported_entries.occurrence is
    'Counts entries of the same content, from 1, those that the stream has brought among them.';
comment on column imported_entries.entry_time is 'Chain time.';
comment on column imported_entries.block_number is 'The height of a block.';
comment on column imported_entries.parent_hash is 'Of a block: the hash of the block before it.';
comment on column imported_entries.events is 'How many of its events are in chain_events.';
comment on column imported_entries.reverted_by_major is 'With reverted_by_minor the id of the revert that took it back.';

create index archived_entries_height on archived_entries (stream, block_number) where block_number is not null;

comment on column chain_events.ordinal is
    'Its place in the entry: 0 is a block''s own event, or a flat event. Of an imported flat event its place among those of its '
    'time.';

alter table stream_holes add column imported_at timestamptz;

comment on column stream_holes.imported_at is
    'Of the archive: when all blocks between the two had been imported. From then on nothing is lost of it.';
