-- Forgets imported entries whose contents the stream has brought: as many of each as it has.
with brought as (
    select content_hash, count(*) as entries
    from unnest($2::text[]) as h (content_hash)
    group by content_hash
),
known as (
    select i.content_hash, i.occurrence, b.entries,
           row_number() over (partition by i.content_hash order by i.occurrence) as place
    from imported_entries i
    join brought b using (content_hash)
    where i.stream = $1 and i.reverted_by_major is null
)
delete from imported_entries i
using known k
where i.stream = $1
  and i.content_hash = k.content_hash
  and i.occurrence = k.occurrence
  and i.reverted_by_major is null
  and k.place <= k.entries
returning i.content_hash
