-- The metrics of a function with a bucket size, or one of them, each with its chains: how far windows were requested, and how far
-- the function has got on the stream of their events. Where none was requested, the first is known when the archive has got as far.
select distinct on (r.metric_id, t.chain)
       r.metric_id, r.version, r.definition, r.created_at, t.chain, s.requested_until, w.low_water, coalesce(n.archive_floor, '-infinity')
from metric_registry r
join stream_types t on event_types(r.definition) ? t.event_type
join stream_watermarks w on w.function = r.type and w.stream = t.stream
left join streams n on n.name = t.stream
left join schedules s on s.metric_id = r.metric_id and s.bucket_size = $2 and s.chain = t.chain
where r.type = $1
  and ($4 = '' or r.name = $4)
  and r.deleted_at is null
  and r.paused_at is null
  and r.definition -> 'bucket_sizes' ? $2
  and r.definition -> 'chains' ? t.chain
  and t.left_out = 0
  and not exists (select from pending_ranges p where p.metric_id = r.metric_id and p.stream = t.stream)
  and w.low_water > coalesce(s.requested_until, '-infinity')
  and (
      s.requested_until is not null
      or exists (
          select
          from stream_watermarks a
          where a.function = $3
            and a.stream = t.stream
            and (split_part(a.entry_id, '-', 1)::numeric, split_part(a.entry_id, '-', 2)::numeric)
                >= (split_part(w.entry_id, '-', 1)::numeric, split_part(w.entry_id, '-', 2)::numeric)
      )
  )
order by r.metric_id, t.chain, w.low_water
