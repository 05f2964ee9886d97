-- What an import has to know of a stream: whether it is a feed's, its archive's floor, the height of its newest block or -1.
select s.mode = 'feed', s.archive_floor,
       coalesce(
           (
               select max(e.block_number)
               from archived_entries e
               where e.stream = s.name and e.block_number is not null and e.entry_minor > 0 and e.reverted_by_major is null
           ),
           -1
       )
from streams s
where s.name = $1
