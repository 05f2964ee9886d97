-- Series: a metric's buckets as chainmetrics query shows them, filled and cumulative, for any SQL client.

create type metric_point as (
    metric       text,
    chain        text,
    bucket_size  text,
    bucket_start timestamptz,
    bucket_end   timestamptz,
    dimensions   jsonb,
    value        numeric,
    value_json   jsonb,
    final        boolean,
    filled       boolean
);

comment on type metric_point is 'One window of a series: the columns of metric_buckets, and filled.';
comment on column metric_point.value_json is
    'Of the bucket. Null in running totals, of zeros, and of a level that still stands, which have none.';
comment on column metric_point.final is 'Of a running total: every bucket in it is final.';
comment on column metric_point.filled is 'Whether no bucket is stored for this window. Never final.';

create function adds_up(definition jsonb) returns boolean
language sql immutable parallel safe
as $$ select coalesce(definition ->> 'type' = 'counter' and definition ->> 'aggregate' in ('sum', 'count'), false) $$;

comment on function adds_up is 'Whether the buckets of a definition add up to those of longer windows, so that they have a running total.';

create function level_name(definition jsonb) returns text
language sql immutable parallel safe
as $$ select case definition ->> 'type' when 'gauge' then 'last' end $$;

comment on function level_name is
    'The name in value_json of what a bucket of a definition leaves behind until the next one; null where that is its value.';

create function bucket_level(value_json jsonb, name text) returns numeric
language plpgsql immutable parallel safe
as $$
begin
    if jsonb_typeof(value_json -> name) is distinct from 'number' then
        raise exception 'a bucket has no level %: %', name, coalesce(value_json, 'null');
    end if;
    return (value_json -> name)::numeric;
end
$$;

comment on function bucket_level is 'The level of a name that a bucket leaves behind. Fails where it has none.';

create function metric_series(
    metric text,
    bucket_size text,
    from_time timestamptz default null,
    to_time timestamptz default null,
    fill text default null,
    cumulative boolean default null,
    chain text default null,
    dimensions jsonb default null
) returns setof metric_point
language plpgsql stable
set timezone = 'UTC'
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    max_points constant integer := 1000000;
    step constant interval := case metric_series.bucket_size
        when 'minutely' then '1 minute'
        when '10-minutely' then '10 minutes'
        when 'hourly' then '1 hour'
        when 'daily' then '1 day'
        when 'weekly' then '7 days'
        when 'monthly' then '1 month'
    end;
    range_start constant timestamptz := coalesce(from_time, '-infinity');
    range_end constant timestamptz := coalesce(to_time, 'infinity');
    first_start timestamptz; -- of the windows in the range; null where that is open
    definition jsonb;
    filling text;
    totals boolean;
    level text;
    points bigint;
begin
    select r.definition into definition
    from metric_registry r
    where r.name = metric_series.metric and r.deleted_at is null;
    if not found then
        raise exception 'unknown metric "%"', metric_series.metric;
    end if;
    filling := coalesce(metric_series.fill, definition ->> 'fill', 'none');
    totals := coalesce(metric_series.cumulative, (definition ->> 'cumulative')::boolean, false);
    level := level_name(definition);

    if filling not in ('none', 'zero', 'previous') then
        raise exception 'unknown fill "%": want one of none, zero, previous', filling;
    end if;
    if step is null or not definition -> 'bucket_sizes' ? metric_series.bucket_size then
        raise exception 'bucket size is not kept: % has no % buckets, only %',
            metric_series.metric, metric_series.bucket_size,
            (select string_agg(size, ', ') from jsonb_array_elements_text(definition -> 'bucket_sizes') size);
    end if;
    if totals and not adds_up(definition) then
        raise exception 'buckets do not add up: % is a % of aggregate %, which has no running total',
            metric_series.metric, definition ->> 'type', definition ->> 'aggregate';
    end if;
    if range_start >= range_end then
        raise exception 'empty range: % is not before %', range_start, range_end;
    end if;

    if isfinite(range_start) then
        first_start := case metric_series.bucket_size
            when 'monthly' then date_trunc('month', range_start)
            else date_bin(step, range_start, date_trunc('week', range_start)) -- every other size divides a week
        end;
        if first_start < range_start then
            first_start := first_start + step;
        end if;
    end if;

    -- Each bucket stands for its window and, where windows are filled, for those after it up to the next bucket of its series.
    -- The first one also stands for those before it, where zeros are shown.
    return query
    with stored as not materialized (
        select b.chain, b.dimensions, b.bucket_start, b.value, b.value_json, b.final
        from metric_buckets b
        where b.metric = metric_series.metric
          and b.bucket_size = metric_series.bucket_size
          and b.bucket_start < range_end
          and (metric_series.chain is null or b.chain = metric_series.chain)
          and (metric_series.dimensions is null or b.dimensions @> metric_series.dimensions)
    ), read as (
        select *
        from stored
        where bucket_start >= range_start
        union all -- all that was before the range, as one bucket of each series
        select chain, dimensions, max(bucket_start), sum(value), null, bool_and(final)
        from stored
        where totals and bucket_start < range_start
        group by chain, dimensions
        union all -- or the last bucket before it
        select chain, dimensions, bucket_start, value, value_json, final
        from stored
        join (
            select chain, dimensions, max(bucket_start) as bucket_start
            from stored
            where not totals and filling <> 'none' and bucket_start < range_start
            group by chain, dimensions
        ) l using (chain, dimensions, bucket_start)
    )
    select metric_series.metric,
           p.chain,
           metric_series.bucket_size,
           p.point_start,
           p.point_start + step,
           p.dimensions,
           case
               when p.point_start < p.bucket_start then 0
               when totals then p.total
               when p.point_start = p.bucket_start then p.value
               when filling = 'zero' then 0
               when level is null then p.value
               else bucket_level(p.value_json, level)
           end,
           case
               when totals then null
               when p.point_start = p.bucket_start or filling = 'previous' and level is null then p.value_json
           end,
           p.point_start = p.bucket_start and case when totals then p.total_final else p.final end,
           p.point_start <> p.bucket_start
    from (
        select s.*,
               generate_series(
                   case
                       when filling = 'zero' and s.is_first then coalesce(first_start, s.chain_start)
                       else greatest(s.bucket_start, first_start)
                   end,
                   case
                       when filling = 'none' then s.bucket_start
                       else least(s.next_start, range_end, s.chain_end) - interval '1 microsecond'
                   end,
                   step
               ) as point_start
        from (
            select r.*,
                   sum(r.value) over series as total,
                   bool_and(r.final) over series as total_final,
                   lag(r.bucket_start) over series is null as is_first,
                   lead(r.bucket_start) over series as next_start,
                   min(r.bucket_start) over whole as chain_start,
                   case when range_end = 'infinity' then max(r.bucket_start) over whole + step end as chain_end
            from read r
            window whole as (partition by r.chain), series as (partition by r.chain, r.dimensions order by r.bucket_start)
        ) s
    ) p
    limit case when filling <> 'none' then max_points + 1 end;

    get diagnostics points = row_count;
    if filling <> 'none' and points > max_points then
        raise exception 'too many points: more than %, ask for a shorter range or larger buckets', max_points;
    end if;
end
$$;

comment on function metric_series is
    'The buckets of a metric and size as series, one for each chain and set of dimensions, as chainmetrics query shows them. From '
    'from_time to to_time: windows that begin in [from_time, to_time), UTC; null leaves an end open. fill: none, zero or previous, '
    'which windows without a bucket show. cumulative: running totals since the first bucket. Both are as the definition says '
    'where null. chain, dimensions: only buckets of the chain, and with these dimensions among others.';
