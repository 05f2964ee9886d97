-- Which of some entries, by their places, are not archived under their ids with their contents, and whether one of the same id and
-- time is, beside which the archive can keep no other. What happened before the archive's floor it has had, and dropped.
select k.place,
       exists (
           select
           from archived_entries a
           where a.stream = $1 and a.entry_major = k.entry_major and a.entry_minor = k.entry_minor and a.entry_time = k.entry_time
       )
from unnest($2::bigint[], $3::bigint[], $4::timestamptz[], $5::text[]) with ordinality
    as k (entry_major, entry_minor, entry_time, content_hash, place)
where k.entry_time >= coalesce((select archive_floor from streams where name = $1), '-infinity')
  and not exists (
      select
      from archived_entries a
      where a.stream = $1
        and a.entry_major = k.entry_major
        and a.entry_minor = k.entry_minor
        and a.content_hash = k.content_hash
  )
