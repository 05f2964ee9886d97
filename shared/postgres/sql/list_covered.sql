-- The chains of the streams that are known, or of one of them.
select t.stream, t.chain, coalesce(s.mode = 'feed', false), coalesce(s.archive_floor, '-infinity')
from (
    select stream, chain from stream_types
    union
    select name, chain from streams where chain is not null
) t
left join streams s on s.name = t.stream
where $1 in ('', t.stream)
order by t.stream, t.chain
