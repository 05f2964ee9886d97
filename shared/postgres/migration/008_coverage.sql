-- Coverage: of which heights and times the archive has everything.

create table coverage_segments (
    stream      text collate "C" not null,
    chain       text collate "C" not null,
    from_height bigint not null,
    to_height   bigint not null,
    from_time   timestamptz not null,
    to_time     timestamptz not null,
    low_water   timestamptz not null,
    parent_hash text collate "C" not null,
    last_hash   text collate "C" not null,
    entry_major bigint,
    entry_minor bigint,
    primary key (stream, chain, from_height),
    check (from_height <= to_height),
    check ((entry_major is null) = (entry_minor is null))
) with (fillfactor = 50);

comment on table coverage_segments is
    'The blocks that the archive has, as stretches in which each is the child of the one before. Between two of them lies a '
    'hole. None reaches into the heights of another: of two branches that nothing has taken back the later one counts.';
comment on column coverage_segments.from_time is 'The chain time of its first block.';
comment on column coverage_segments.to_time is 'The chain time of its last block.';
comment on column coverage_segments.low_water is
    'No block after its last one happened before: the median time past of that where it says it, otherwise its time.';
comment on column coverage_segments.parent_hash is 'The hash of the block before its first one.';
comment on column coverage_segments.entry_major is
    'With entry_minor the id of its newest stream entry; null where no block of it has come by the stream.';

create table coverage_declarations (
    stream       text collate "C" not null,
    from_time    timestamptz not null,
    to_time      timestamptz not null,
    every_height boolean not null,
    until_id     text collate "C" not null,
    declared_at  timestamptz not null default now(),
    primary key (stream, from_time, to_time),
    check (from_time < to_time)
);

comment on table coverage_declarations is
    'What feeds say of files whose rows do not tell whether one is missing: that they hold everything of an interval.';
comment on column coverage_declarations.from_time is 'The interval contains it.';
comment on column coverage_declarations.to_time is 'The interval does not contain it.';
comment on column coverage_declarations.every_height is
    'Whether each height of the interval has rows, and their ids begin with it: one without is a hole.';
comment on column coverage_declarations.until_id is
    'The stream''s end when everything had been fed: the declaration holds once the archive has come there.';

create function block_low_water(entry archived_entries) returns timestamptz
language sql stable
as $$
    select coalesce(
        (
            select to_timestamp(json_integer(fields -> 'median_time'))
            from chain_events
            where chain = entry.chain
              and event_type = 'block'
              and event_time = entry.entry_time
              and stream = entry.stream
              and entry_major = entry.entry_major
              and entry_minor = entry.entry_minor
              and jsonb_typeof(fields -> 'median_time') = 'number'
              and json_number(fields -> 'median_time') between 0 and extract(epoch from entry.entry_time)
        ),
        entry.entry_time
    )
$$;

comment on function block_low_water is
    'The low-water time of an archived block, as delivery.LowWater has it. Where block events are left out it is its time.';

create function add_coverage(piece coverage_segments) returns void
language plpgsql
as $$
declare
    lower coverage_segments;
    upper coverage_segments;
begin
    delete from coverage_segments
    where stream = piece.stream
      and chain = piece.chain
      and from_height = (
          select max(from_height)
          from coverage_segments
          where stream = piece.stream and chain = piece.chain and from_height < piece.from_height
      )
      and to_height = piece.from_height - 1
      and last_hash = piece.parent_hash
    returning * into lower;
    if found then
        piece.from_height := lower.from_height;
        piece.from_time := lower.from_time;
        piece.parent_hash := lower.parent_hash;
        if piece.entry_major is null then
            piece.entry_major := lower.entry_major;
            piece.entry_minor := lower.entry_minor;
        end if;
    end if;
    delete from coverage_segments
    where stream = piece.stream
      and chain = piece.chain
      and from_height = piece.to_height + 1
      and parent_hash = piece.last_hash
    returning * into upper;
    if found then
        piece.to_height := upper.to_height;
        piece.to_time := upper.to_time;
        piece.low_water := upper.low_water;
        piece.last_hash := upper.last_hash;
        if upper.entry_major is not null then
            piece.entry_major := upper.entry_major;
            piece.entry_minor := upper.entry_minor;
        end if;
    end if;
    insert into coverage_segments select piece.*;
end
$$;

comment on function add_coverage is
    'Adds linked blocks, of whose heights no segment has any, and joins them with the segments that they meet by hash. '
    'Callers hold the lock of the archive''s row in stream_watermarks.';

create function cover_archived(of_stream text, of_chain text) returns void
language plpgsql
as $$
declare
    seen_major bigint;
    seen_minor bigint;
    lowest bigint;
    top archived_entries;
    piece coverage_segments;
begin
    select entry_major, entry_minor into seen_major, seen_minor
    from coverage_segments
    where stream = of_stream and chain = of_chain and entry_major is not null
    order by entry_major desc, entry_minor desc
    limit 1;
    seen_major := coalesce(seen_major, 0);
    seen_minor := coalesce(seen_minor, 0);

    select min(block_number) into lowest
    from archived_entries
    where stream = of_stream
      and chain = of_chain
      and (entry_major, entry_minor) > (seen_major, seen_minor)
      and parent_hash is not null
      and reverted_by_major is null;

    -- What is left of the segments ends with the newest of their blocks that was neither taken back nor passed by another branch.
    if (seen_major, seen_minor) <> (0, 0) then
        select * into top
        from archived_entries
        where stream = of_stream
          and chain = of_chain
          and (entry_major, entry_minor) <= (seen_major, seen_minor)
          and parent_hash is not null
          and reverted_by_major is null
          and (lowest is null or block_number < lowest)
        order by entry_major desc, entry_minor desc
        limit 1;
        if not found
            or (top.entry_major, top.entry_minor) <> (seen_major, seen_minor)
            or exists (
                select from coverage_segments where stream = of_stream and chain = of_chain and to_height >= lowest
            )
        then
            delete from coverage_segments
            where stream = of_stream
              and chain = of_chain
              and from_height > coalesce(top.block_number, -1);
            update coverage_segments
            set to_height = top.block_number, to_time = top.entry_time, low_water = block_low_water(top),
                last_hash = top.content_hash, entry_major = top.entry_major, entry_minor = top.entry_minor
            where stream = of_stream and chain = of_chain and to_height > top.block_number;
        end if;
    end if;

    -- An edge is a block that the one before, or the one after, is not linked with.
    for piece in
        with blocks as (
            select e as entry, e.entry_major, e.entry_minor, e.block_number, e.content_hash, e.parent_hash,
                   min(e.block_number) over (
                       order by e.entry_major desc, e.entry_minor desc rows between unbounded preceding and 1 preceding
                   ) as later
            from archived_entries e
            where e.stream = of_stream
              and e.chain = of_chain
              and (e.entry_major, e.entry_minor) > (seen_major, seen_minor)
              and e.parent_hash is not null
              and e.reverted_by_major is null
        ), linked as (
            select *,
                   coalesce(
                       lag(block_number) over place = block_number - 1 and lag(content_hash) over place = parent_hash, false
                   ) as follows,
                   coalesce(
                       lead(block_number) over place = block_number + 1 and lead(parent_hash) over place = content_hash, false
                   ) as goes_on
            from blocks
            where later is null or later > block_number
            window place as (order by entry_major, entry_minor)
        ), firsts as (
            select entry, row_number() over (order by entry_major, entry_minor) as place
            from linked
            where not follows
        ), lasts as (
            select entry, row_number() over (order by entry_major, entry_minor) as place
            from linked
            where not goes_on
        )
        select of_stream, of_chain, (f.entry).block_number, (l.entry).block_number, (f.entry).entry_time, (l.entry).entry_time,
               block_low_water(l.entry), (f.entry).parent_hash, (l.entry).content_hash, (l.entry).entry_major,
               (l.entry).entry_minor
        from firsts f
        join lasts l using (place)
        order by place
    loop
        perform add_coverage(piece);
    end loop;
end
$$;

comment on function cover_archived is
    'Brings the segments of a chain up with the archived entries after their newest one: whatever has come, was taken back, or '
    'was archived by a release that knew no segments. Callers hold the lock of the archive''s row in stream_watermarks.';

-- Archives that were there before.
select cover_archived(stream, chain) from stream_types where event_type = 'block';
