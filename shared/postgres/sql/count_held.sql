-- How many flat entries of some contents the archive has. Their events, whose types and times are known, lead to them.
select content_hash, sum(entries)
from (
    select a.content_hash, count(*) as entries
    from (select distinct * from unnest($2::text[], $3::text[], $4::timestamptz[]) as k (chain, event_type, event_time)) k
    join chain_events e using (chain, event_type, event_time)
    join archived_entries a
        on a.stream = e.stream and a.entry_major = e.entry_major and a.entry_minor = e.entry_minor and a.entry_time = e.event_time
    where e.stream = $1 and e.reverted_by_major is null and a.content_hash = any ($5)
    group by a.content_hash
    union all
    select content_hash, count(*)
    from imported_entries
    where stream = $1 and content_hash = any ($5) and reverted_by_major is null
    group by content_hash
) held
group by content_hash
