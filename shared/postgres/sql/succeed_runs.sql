update runs r
set state = 'succeeded',
    lease = null,
    lease_until = null,
    finished_at = clock_timestamp(),
    observations = t.observations,
    buckets = t.buckets,
    changes = t.changes,
    refused = t.refused,
    error = null,
    definition_version = $2
from unnest($3::timestamptz[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
    as t (bucket_start, observations, buckets, changes, refused)
where r.lease = $1 and r.bucket_start = t.bucket_start
