insert into notification_groups (channel, recipient, about)
select distinct channel, recipient, about
from unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) as g (channel, recipient, about, silent)
where not silent
on conflict do nothing
