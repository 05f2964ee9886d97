-- Functions that have read the stream before learn its mode by the change of their rows' versions.
with registered as (
    insert into streams (name, mode, chain)
    values ($1, $2, nullif($3, ''))
    on conflict (name) do nothing
    returning name
)
update stream_watermarks w
set version = nextval('registry_version')
from registered r
where w.stream = r.name
