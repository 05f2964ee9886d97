-- Trimming: streams lose what the archive has and every function has passed. Functions that are away do not keep it.

alter table stream_watermarks add column detached_at timestamptz;

comment on column stream_watermarks.detached_at is
    'Since then the function keeps no entry of the stream from being trimmed; null while it does.';

create view hand_overs as
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
  and not exists (select from stream_holes h where h.function = 'archive' and h.stream = w.stream)
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

comment on view hand_overs is
    'Functions that lie behind the archive on a stream of which it has everything that their metrics count: they may be moved to '
    'its watermark, since the windows of what lies between can be computed from the archive.';
comment on column hand_overs.until_id is 'The last entry that the archive has; content_hash is that entry''s.';

create index archived_entries_reverted on archived_entries (stream, reverted_by_major, reverted_by_minor)
    where reverted_by_major is not null;

alter table runs
    drop constraint runs_reason_check,
    add constraint runs_reason_check check (reason in ('due', 'history', 'backfill', 'reverted', 'late', 'passed'));

comment on column runs.reason is
    'due: the window has ended; history: the metric, or its calculation, is newer than the window; backfill: a person has asked; '
    'reverted: a reorganisation has taken back some of its events; late: an event has come after it was final; '
    'passed: its function has passed over some of its events.';
