-- One of everything that the store may tell of, of a stream s and the metric gas, which must be registered.
insert into streams (name, mode, chain) values ('s', 'feed', 'testchain');

insert into stream_watermarks (function, stream, entry_id, low_water, detached_at) values
    ('archive', 's', '0-30', '2024-02-01 00:00Z', null),
    ('counter', 's', '0-20', '2024-01-31 23:00Z', null),
    ('gauge', 's', '0-1', '2024-01-31 00:00Z', now());

insert into dead_letters (stream, entry_id, reason, content, content_length, recorded_at) values
    ('s', '0-8', 'broken', '', 0, '2024-01-31Z'),
    ('s', '0-9', 'broken', '', 0, '2024-02-01Z');

insert into metric_errors (metric_id, stream, reason, count, sample_entry_id, last_seen)
select metric_id, 's', reason, count, '0-8', seen::timestamptz
from metric_registry, (values ('no such field', 3, '2024-02-01Z'), ('no number', 4, '2024-01-31Z')) as e (reason, count, seen)
where name = 'gas';

insert into pending_reverts (function, stream, entry_id, ancestor_id, ancestor_number, ancestor_hash) values
    ('counter', 's', '0-10', '0-8', 7, 'h');

insert into pending_ranges (function, stream, after_id, until_id) values ('counter', 's', '0-11', '0-12');

insert into stream_holes (function, stream, after_id, next_id, removed, first_id, reason) values
    ('counter', 's', '0-13', '0-15', 1, '0-1', 'accepted');

insert into coverage_segments (stream, chain, from_height, to_height, from_time, to_time, low_water, parent_hash, last_hash) values
    ('s', 'testchain', 0, 9, '2024-01-01Z', '2024-01-02Z', '2024-01-02Z', 'p', 'h9'),
    ('s', 'testchain', 20, 29, '2024-01-03Z', '2024-01-04Z', '2024-01-04Z', 'h19', 'h29');

insert into runs (
    metric_id, bucket_size, bucket_start, chain, reason, state, attempt, lease, lease_until, not_before, requested_at, started_at,
    finished_at, late_at, error
)
select metric_id, r.size, r.start::timestamptz, 'testchain', 'due', r.state, r.attempt, r.lease, 'infinity'::timestamptz,
       r.not_before::timestamptz, r.requested::timestamptz, null, r.finished::timestamptz, r.late::timestamptz, r.error
from metric_registry, (values
    ('hourly', '2024-01-31 01:00Z', 'queued', 0, null::bigint, '2024-02-01Z', '2024-02-01Z', null, '2024-02-02Z', null),
    ('hourly', '2024-01-31 02:00Z', 'queued', 1, null, 'infinity', '2024-01-31Z', null, null, 'again'),
    ('hourly', '2024-01-31 03:00Z', 'running', 1, 1, '2024-02-01Z', '2024-02-01Z', null, null, null),
    ('daily', '2024-01-30 00:00Z', 'failed', 4, null, '2024-02-01Z', '2024-02-01Z', '2024-02-01Z', null, 'broken')
) as r (size, start, state, attempt, lease, not_before, requested, finished, late, error)
where name = 'gas';

insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, details, created_at, sent_at, refusals) values
    ('dev.chainmetrics.bucket.drifted.v1', 'gas', 'counter', 'small', 'hourly', '2024-01-30Z', 'testchain', '{"changes": 1}',
     '2024-01-31Z', '2024-01-31Z', 0),
    ('dev.chainmetrics.bucket.drifted.v1', 'gas', 'counter', 'small', 'hourly', '2024-01-31Z', 'testchain', '{"changes": 1}',
     '2024-02-01Z', '2024-02-01Z', 0),
    ('dev.chainmetrics.metric.changed.v1', 'gas', 'counter', 'small', null, null, null, '{"change": "updated"}', '2024-02-01Z', null, 5);

insert into notification_groups (channel, recipient, about) values ('webhook', '', 'gas');

insert into notifications (event_source, event_id, channel, type, payload, group_id, state, attempts, created_at, settled_at)
select '/s', n.id, 'webhook', 'dev.chainmetrics.run.failed.v1', '{}', group_id, n.state, 1, '2024-02-01Z', n.settled
from notification_groups, (values ('1', 'queued', null), ('2', 'failed', now())) as n (id, state, settled);
