-- The metrics of a function of which a stream brings the events, with the chains of which it does.
select r.metric_id, r.definition, r.created_at, array_agg(distinct t.chain order by t.chain)
from metric_registry r
join stream_types t on event_types(r.definition) ? t.event_type and r.definition -> 'chains' ? t.chain
where r.type = $1 and t.stream = $2 and r.deleted_at is null
group by r.metric_id
order by r.metric_id
