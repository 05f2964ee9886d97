-- How far the function of a metric has got with the streams of its events, of each of its chains, or of one; and whether something
-- before that is not in the buckets of a size and range, since it has still to be computed from the archive, or could not be.
select t.chain, t.stream, w.entry_id, w.low_water,
       exists (
           select
           from pending_ranges p
           where p.function = m.type and p.stream = t.stream and coalesce(p.metric_id, m.metric_id) = m.metric_id
       )
       or exists (select from pending_reverts v where v.function = m.type and v.stream = t.stream)
       or exists (
           select
           from runs r
           where r.metric_id = m.metric_id
             and r.bucket_size = $3
             and r.chain = t.chain
             and r.bucket_start >= $4
             and r.bucket_start < $5
             and r.state <> 'succeeded'
             and explains_changes(r.reason)
             and not exists (
                 select
                 from runs l
                 where l.metric_id = r.metric_id
                   and l.bucket_size = r.bucket_size
                   and l.chain = r.chain
                   and l.bucket_start = r.bucket_start
                   and l.run_id > r.run_id
             )
       )
from metric_registry m
join stream_types t on event_types(m.definition) ? t.event_type and m.definition -> 'chains' ? t.chain
join stream_watermarks w on w.function = m.type and w.stream = t.stream
where m.name = $1
  and m.deleted_at is null
  and ($2 = '' or t.chain = $2)
order by t.chain, t.stream
