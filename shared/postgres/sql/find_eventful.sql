-- The intervals, by their place, in which something happened that counts.
select w.place
from unnest($4::timestamptz[], $5::timestamptz[]) with ordinality as w (from_time, to_time, place)
where exists (
    select
    from chain_events
    where stream = $1
      and chain = $2
      and event_type = any ($3)
      and event_time >= w.from_time
      and event_time < w.to_time
      and reverted_by_major is null
)
