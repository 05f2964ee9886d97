-- SQL metrics: windows computed by a query.

create function event_types(definition jsonb) returns jsonb
language sql immutable parallel safe
as $$
    select coalesce(
        definition #> '{calculation_logic,sql,event_types}',
        jsonb_build_array(definition #> '{calculation_logic,stream,event_type}')
    )
$$;

comment on function event_types is
    'The types of the events of which a metric is made, as an array; without any name in it, where it is made of none.';

create or replace view hand_overs as
select w.function,
       w.stream,
       a.entry_id as until_id,
       a.content_hash,
       a.low_water
from stream_watermarks w
join stream_watermarks a on a.stream = w.stream and a.function = 'archive'
where w.function <> 'archive'
  and (split_part(w.entry_id, '-', 1)::numeric, split_part(w.entry_id, '-', 2)::numeric)
      < (split_part(a.entry_id, '-', 1)::numeric, split_part(a.entry_id, '-', 2)::numeric)
  and not exists (select from stream_holes h where h.function = 'archive' and h.stream = w.stream and not h.healed)
  and not exists (
      select
      from dead_letters d
      where d.stream = w.stream and position('quarantined: archive ' in d.reason) > 0
  )
  and not exists (
      select
      from stream_types t
      join metric_registry r on r.type = w.function and r.deleted_at is null and r.definition -> 'chains' ? t.chain
      where t.stream = w.stream
        and t.left_out > 0
        and (t.event_type = 'block' or event_types(r.definition) ? t.event_type)
  );

create view archived_events as
select chain,
       event_type,
       event_time,
       coalesce(block_number, json_integer(fields -> 'block_number')) as block_number,
       ordinal,
       fields
from chain_events
where reverted_by_major is null;

comment on view archived_events is
    'All archived events that were not taken back, of any type. ordinal is the place of one within its entry.';

-- The role of templates: roles.sql makes it, and gives it the function and the views.

create function query_template(statement text, start_time timestamptz, end_time timestamptz, chain text, most bigint)
returns setof jsonb
language plpgsql stable security definer
set standard_conforming_strings = on
as $$
begin
    if current_user <> 'chainmetrics_sql' then
        raise exception 'queries of metrics would run as %', current_user using hint = 'Run chainmetrics migrate, which mends that.';
    end if;
    return query execute format(
        E'select case when pg_column_size(j) <= 1048576 then j end from (select to_jsonb(t) as j from (%s\n) t limit %s) r', statement, most
    ) using start_time, end_time, chain;
end
$$;

comment on function query_template is
    'The rows, at most so many, of a query whose parameters are $1, the start of a window, $2, its end, and $3, its chain; null for one '
    'that is larger than 1 MiB. It runs as chainmetrics_sql, which may read views of the archive and nothing else; the caller makes the '
    'transaction read-only and limits its time.';

revoke execute on function query_template from public;
