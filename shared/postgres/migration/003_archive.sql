-- The archive: what happened on the chains, from which windows can be computed again.

-- Partitions ----------------------------------------------------------------------------------------------------------

create function add_partition(
    parent text, partition text, time_column text, range_start timestamptz, range_end timestamptz, condition text, options text
) returns void
language plpgsql
set timezone = 'UTC'
set datestyle = 'ISO'
as $$
declare
    wanted text := format('FOR VALUES FROM (%L) TO (%L)', range_start, range_end);
    actual text;
begin
    perform pg_advisory_xact_lock(hashtextextended('metrics_data partitions', 0));
    select pg_get_expr(relpartbound, oid) into actual
    from pg_class
    where oid = to_regclass(quote_ident(partition)) and relispartition;
    if actual is distinct from null then
        if actual <> wanted then
            raise exception 'partition % holds another range: % instead of %', partition, actual, wanted;
        end if;
        return;
    end if;
    execute format('create table if not exists %I (like %I including all) %s', partition, parent, options);
    execute format(
        'alter table %I add constraint range_to_attach check (%s and %I >= %L and %I < %L)',
        partition, condition, time_column, range_start, time_column, range_end
    );
    execute format('alter table %I attach partition %I %s', parent, partition, wanted);
    execute format('alter table %I drop constraint range_to_attach', partition);
end
$$;

comment on function add_partition is
    'Adds a range of times to a partitioned table; does nothing where it is there. '
    'LIKE and ATTACH wait for no reader or writer of the parent, CREATE ... PARTITION OF waits for all of them. '
    'The constraint spares a partition that was detached before, and holds rows, another reading.';

create or replace function add_metrics_data_partition(
    size text, parent text, partition text, range_start timestamptz, range_end timestamptz
) returns void
language sql
as $$
    select add_partition(
        parent, partition, 'bucket_start', range_start, range_end, format('bucket_size = %L', size), 'with (fillfactor = 90)'
    )
$$;

-- Entries and events --------------------------------------------------------------------------------------------------

create table archived_entries (
    stream            text collate "C" not null,
    entry_major       bigint not null,
    entry_minor       bigint not null,
    entry_time        timestamptz not null,
    content_hash      text collate "C" not null,
    chain             text collate "C",
    block_number      bigint,
    parent_hash       text collate "C",
    events            integer not null,
    reverted_by_major bigint,
    reverted_by_minor bigint,
    archived_at       timestamptz not null default now(),
    primary key (stream, entry_major, entry_minor, entry_time),
    check ((reverted_by_major is null) = (reverted_by_minor is null))
) partition by range (entry_time);

comment on table archived_entries is
    'Every entry of the streams that the archive has passed, in a partition per month: archived_entries_2009_01. '
    'Not those whose ids have a part beyond 2^63, which are dead letters alone.';
comment on column archived_entries.entry_major is 'The entry''s id is <entry_major>-<entry_minor>.';
comment on column archived_entries.entry_time is
    'Its chain time; the time of its append where it has none; 1970 where it has neither.';
comment on column archived_entries.chain is 'Null where the entry cannot be read.';
comment on column archived_entries.block_number is 'The height of a block; of a revert that of its ancestor.';
comment on column archived_entries.parent_hash is 'Of a block: the hash of the block before it.';
comment on column archived_entries.events is 'How many of its events are in chain_events.';
comment on column archived_entries.reverted_by_major is 'With reverted_by_minor the id of the revert that took it back.';

create table chain_events (
    chain             text collate "C" not null,
    event_type        text collate "C" not null,
    event_time        timestamptz not null,
    stream            text collate "C" not null,
    entry_major       bigint,
    entry_minor       bigint,
    ordinal           integer not null,
    block_number      bigint,
    fields            jsonb not null,
    exact_fields      bytea,
    reverted_by_major bigint,
    reverted_by_minor bigint,
    check ((entry_major is null) = (entry_minor is null)),
    check ((reverted_by_major is null) = (reverted_by_minor is null))
) partition by range (event_time);

create index chain_events_time on chain_events (chain, event_type, event_time);

comment on table chain_events is
    'What happened, a row per event, in a partition per month: chain_events_2009_01. '
    'Read it through the views blocks, transactions, logs, token_transfers, or where reverted_by_major is null.';
comment on column chain_events.event_time is 'Chain time.';
comment on column chain_events.entry_major is
    'With entry_minor the id of the stream entry that brought the event; null where it was imported.';
comment on column chain_events.ordinal is 'Its place in the entry: 0 is a block''s own event, or a flat event.';
comment on column chain_events.block_number is 'The height of its block; null outside a block entry.';
comment on column chain_events.fields is 'As its feed or producer wrote them. May have its type and chain as well.';
comment on column chain_events.exact_fields is
    'JSON, where fields could not be held as they are: jsonb has no NUL characters, in whose place it has U+FFFD.';
comment on column chain_events.reverted_by_major is
    'With reverted_by_minor the id of the revert that took it back; null while it counts.';

-- What is older than Bitcoin has no buckets, and no month: Ethereum's genesis is of 1970.
create table archived_entries_early partition of archived_entries for values from (minvalue) to ('2009-01-01 00:00:00+00');
create table chain_events_early partition of chain_events for values from (minvalue) to ('2009-01-01 00:00:00+00');

comment on table archived_entries_early is 'Entries of before 2009, or without any time.';
comment on table chain_events_early is 'Events of before 2009: they are in no buckets.';

alter table streams add column archive_floor timestamptz not null default '-infinity';

comment on column streams.archive_floor is
    'From this chain time on the archive of the stream is whole: what lies before it is never computed again.';

alter table stream_types add column left_out bigint not null default 0;

comment on column stream_types.left_out is
    'How many events the archive was told to leave out. Where there are any, no window can be computed from it.';

-- Views ---------------------------------------------------------------------------------------------------------------

create function json_number(value jsonb) returns numeric
language sql immutable strict parallel safe
as $$
    select case jsonb_typeof(value)
               when 'number' then value::numeric
               when 'string' then case
                   when value #>> '{}' ~ '^-?[0-9]{1,400}([.][0-9]{1,400})?$' then (value #>> '{}')::numeric
               end
           end
$$;

comment on function json_number is 'A JSON number, or the decimal number in a JSON text; null where there is none.';

create function json_integer(value jsonb) returns bigint
language sql immutable strict parallel safe
as $$
    select case
               when json_number(value) between -9223372036854775808 and 9223372036854775807
               then json_number(value)::bigint
           end
$$;

comment on function json_integer is 'json_number as bigint; null where that has no room.';

create function json_boolean(value jsonb) returns boolean
language sql immutable strict parallel safe
as $$ select case value when 'true' then true when 'false' then false end $$;

comment on function json_boolean is 'A JSON boolean; null where there is none.';

create view blocks as
select chain,
       event_time as timestamp,
       coalesce(block_number, json_integer(fields -> 'number')) as number,
       fields ->> 'hash' as hash,
       coalesce(fields ->> 'parent_hash', fields ->> 'previous_block_hash') as parent_hash,
       fields ->> 'nonce' as nonce,
       fields ->> 'sha3_uncles' as sha3_uncles,
       fields ->> 'logs_bloom' as logs_bloom,
       fields ->> 'transactions_root' as transactions_root,
       fields ->> 'state_root' as state_root,
       fields ->> 'receipts_root' as receipts_root,
       fields ->> 'miner' as miner,
       json_number(fields -> 'difficulty') as difficulty,
       json_number(fields -> 'total_difficulty') as total_difficulty,
       json_integer(fields -> 'size') as size,
       fields ->> 'extra_data' as extra_data,
       json_integer(fields -> 'gas_limit') as gas_limit,
       json_integer(fields -> 'gas_used') as gas_used,
       json_integer(fields -> 'transaction_count') as transaction_count,
       json_integer(fields -> 'base_fee_per_gas') as base_fee_per_gas,
       json_integer(fields -> 'stripped_size') as stripped_size,
       json_integer(fields -> 'weight') as weight,
       json_integer(fields -> 'version') as version,
       fields ->> 'merkle_root' as merkle_root,
       fields ->> 'bits' as bits,
       fields ->> 'coinbase_param' as coinbase_param,
       fields
from chain_events
where event_type = 'block' and reverted_by_major is null;

comment on view blocks is
    'Blocks that were not taken back, with the columns of ethereum-etl, then those that bitcoin-etl has besides; null where a '
    'chain has no such thing. Times have their zone, numbers of any size are numeric, and fields has whatever else was fed.';

create view transactions as
select chain,
       fields ->> 'hash' as hash,
       json_integer(fields -> 'nonce') as nonce,
       json_integer(fields -> 'transaction_index') as transaction_index,
       fields ->> 'from_address' as from_address,
       fields ->> 'to_address' as to_address,
       json_number(fields -> 'value') as value,
       json_integer(fields -> 'gas') as gas,
       json_integer(fields -> 'gas_price') as gas_price,
       fields ->> 'input' as input,
       json_integer(fields -> 'receipt_cumulative_gas_used') as receipt_cumulative_gas_used,
       json_integer(fields -> 'receipt_gas_used') as receipt_gas_used,
       fields ->> 'receipt_contract_address' as receipt_contract_address,
       fields ->> 'receipt_root' as receipt_root,
       json_integer(fields -> 'receipt_status') as receipt_status,
       event_time as block_timestamp,
       coalesce(block_number, json_integer(fields -> 'block_number')) as block_number,
       fields ->> 'block_hash' as block_hash,
       json_integer(fields -> 'max_fee_per_gas') as max_fee_per_gas,
       json_integer(fields -> 'max_priority_fee_per_gas') as max_priority_fee_per_gas,
       json_integer(fields -> 'transaction_type') as transaction_type,
       json_integer(fields -> 'receipt_effective_gas_price') as receipt_effective_gas_price,
       json_integer(fields -> 'size') as size,
       json_integer(fields -> 'virtual_size') as virtual_size,
       json_integer(fields -> 'version') as version,
       json_integer(fields -> 'lock_time') as lock_time,
       json_integer(fields -> 'index') as index,
       json_boolean(fields -> 'is_coinbase') as is_coinbase,
       json_integer(fields -> 'input_count') as input_count,
       json_integer(fields -> 'output_count') as output_count,
       json_number(fields -> 'input_value') as input_value,
       json_number(fields -> 'output_value') as output_value,
       json_number(fields -> 'fee') as fee,
       fields -> 'inputs' as inputs,
       fields -> 'outputs' as outputs,
       fields
from chain_events
where event_type = 'transaction' and reverted_by_major is null;

comment on view transactions is 'Transactions, as the view blocks has blocks.';

create view logs as
select chain,
       json_integer(fields -> 'log_index') as log_index,
       fields ->> 'transaction_hash' as transaction_hash,
       json_integer(fields -> 'transaction_index') as transaction_index,
       fields ->> 'address' as address,
       fields ->> 'data' as data,
       coalesce(fields ->> 'topic0', fields #>> '{topics,0}') as topic0,
       coalesce(fields ->> 'topic1', fields #>> '{topics,1}') as topic1,
       coalesce(fields ->> 'topic2', fields #>> '{topics,2}') as topic2,
       coalesce(fields ->> 'topic3', fields #>> '{topics,3}') as topic3,
       event_time as block_timestamp,
       coalesce(block_number, json_integer(fields -> 'block_number')) as block_number,
       fields ->> 'block_hash' as block_hash,
       fields
from chain_events
where event_type = 'log' and reverted_by_major is null;

comment on view logs is 'Logs of contracts, as the view blocks has blocks.';

create view token_transfers as
select chain,
       fields ->> 'token_address' as token_address,
       fields ->> 'from_address' as from_address,
       fields ->> 'to_address' as to_address,
       json_number(fields -> 'value') as value,
       fields ->> 'transaction_hash' as transaction_hash,
       json_integer(fields -> 'log_index') as log_index,
       event_time as block_timestamp,
       coalesce(block_number, json_integer(fields -> 'block_number')) as block_number,
       fields ->> 'block_hash' as block_hash,
       fields
from chain_events
where event_type = 'token_transfer' and reverted_by_major is null;

comment on view token_transfers is 'Transfers of tokens, as the view blocks has blocks.';
