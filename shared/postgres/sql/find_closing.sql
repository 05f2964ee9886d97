-- Those of some windows that become final unless a check keeps them.
select w.bucket_start
from unnest($4::timestamptz[]) as w (bucket_start)
where may_be_final($1, $2, $3, w.bucket_start)
order by w.bucket_start
