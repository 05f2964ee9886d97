-- Those of $7 become final, except one of which a run was requested meanwhile, which is left to that, and one that depends on another
-- which is not final, which is left to the run that follows it. Others are told of windows that have become final, of final ones that
-- have changed or, of $14, are no longer final, and of drift: changes that nothing explains. A window's first computation explains them
-- where the metric came later than the stream; what is not made of events has nothing to drift from before it is final.
with finished as (
    update windows w
    set cut = null,
        sets = null,
        base_version = $6,
        final = b.lacks_nothing,
        finalized_at = coalesce(w.finalized_at, case when b.final then '-infinity' when b.lacks_nothing then clock_timestamp() end)
    from (
        select v.*,
               v.bucket_start = any ($7) and may_be_final(v.metric_id, v.bucket_size, v.chain, v.bucket_start) as lacks_nothing
        from windows v
        where v.metric_id = $1
          and v.bucket_size = $2
          and v.bucket_start >= $3
          and v.bucket_start < $4
          and v.chain = $5
    ) b
    join metric_registry m using (metric_id)
    where w.metric_id = b.metric_id
      and w.bucket_size = b.bucket_size
      and w.bucket_start = b.bucket_start
      and w.chain = b.chain
    returning w.bucket_start, w.final,
              -- What was computed under another calculation was something else.
              b.final and b.base_version >= m.calculation_version as was_final,
              coalesce(b.base_version >= m.calculation_version, false) as was_computed,
              b.base_version is null as is_first
)
insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, run_id, details)
select n.type, m.name, m.type, m.definition ->> 'complexity', $2, f.bucket_start, $5, r.run_id, n.details
from finished f
join unnest($8::timestamptz[], $9::bigint[], $10::bigint[], $11::bigint[])
    as t (bucket_start, observations, buckets, changes) using (bucket_start)
join metric_registry m on m.metric_id = $1
left join runs r on r.lease = $12 and r.bucket_start = f.bucket_start
cross join lateral (values
    (
        'dev.chainmetrics.bucket.finalized.v1',
        f.final and not f.was_final,
        jsonb_strip_nulls(jsonb_build_object(
            'observations', t.observations, 'buckets', t.buckets, 'definition_version', $6::integer
        ))
    ),
    (
        'dev.chainmetrics.bucket.revised.v1',
        f.was_final and t.changes > 0,
        jsonb_build_object('reason', 'rebuilt', 'changes', t.changes)
    ),
    (
        'dev.chainmetrics.bucket.revised.v1',
        f.was_final and not f.final and f.bucket_start = any ($14),
        '{"reason": "check"}'
    ),
    (
        'dev.chainmetrics.bucket.drifted.v1',
        t.changes > 0 and not explains_changes(r.reason) and (
            f.was_final
            or m.definition -> 'calculation_logic' ? 'stream' and (
                f.was_computed
                or f.is_first and not exists (
                    select from pending_ranges p where p.stream = $13 and coalesce(p.metric_id, $1) = $1
                )
            )
        ) and not exists ( -- what has come meanwhile, and explains it, has requested a run
            select
            from runs q
            where q.metric_id = $1
              and q.bucket_size = $2
              and q.chain = $5
              and q.bucket_start = f.bucket_start
              and q.state = 'queued'
              and explains_changes(q.reason)
        ),
        jsonb_build_object('changes', t.changes)
    )
) as n (type, holds, details)
where n.holds
