-- The tables of the months of a table of the archive: whether each is attached, and whether its detaching was cut short.
select c.relname, i.inhrelid is not null, coalesce(i.inhdetachpending, false)
from pg_class c
left join pg_inherits i on i.inhrelid = c.oid and i.inhparent = to_regclass($1)
where c.relkind = 'r'
  and c.relnamespace = (select relnamespace from pg_class where oid = to_regclass($1))
  and c.relname ~ ('^' || $1 || '_[0-9]{4}_[0-9]{2}$')
order by c.relname
