-- Healing: open streams that Redis has lost entries of go on where the archive is, without a person.

alter table stream_holes add column healed boolean not null default false;

comment on table stream_holes is 'Losses of stream entries, that a person has accepted or that the archive has healed.';
comment on column stream_holes.healed is
    'Nobody has applied what was lost after the archive''s watermark, so that windows are still computed from what is archived.';
comment on column stream_holes.next_id is
    'The entry that may follow it, although others were between the two. Where none had come when the stream was healed, the first '
    'id that one could have.';

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
        and t.event_type in ('block', r.definition #>> '{calculation_logic,stream,event_type}')
  );
