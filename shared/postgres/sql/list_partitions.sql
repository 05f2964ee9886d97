select c.relname
from pg_partition_tree('metrics_data') p
join pg_class c on c.oid = p.relid
where p.level = 2
order by c.relname
