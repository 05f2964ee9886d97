insert into streams (name, mode, chain)
values ($1, $2, nullif($3, ''))
on conflict (name) do nothing
