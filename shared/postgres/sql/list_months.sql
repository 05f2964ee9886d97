-- The partitions of a table of the archive, and whether the detaching of one was cut short.
select c.relname, i.inhdetachpending
from pg_inherits i
join pg_class c on c.oid = i.inhrelid
where i.inhparent = to_regclass($1)
order by c.relname
