-- Derived metrics: windows computed from those of other metrics.

create index metric_registry_derived on metric_registry (metric_id)
    where definition -> 'calculation_logic' ? 'derived' and deleted_at is null;

create view derived_metrics as
select metric_id, name, definition, definition #> '{calculation_logic,derived,dependencies}' as dependencies
from metric_registry
where definition -> 'calculation_logic' ? 'derived' and deleted_at is null;

comment on view derived_metrics is 'Metrics that depend on others, with the names of those.';

create view final_windows as
select w.metric_id, w.bucket_size, w.bucket_start, w.chain
from windows w
join metric_registry m using (metric_id)
where w.final and w.base_version >= m.calculation_version and m.deleted_at is null;

comment on view final_windows is 'Windows that are final under the calculation that their metric has now.';

create function dependents(of_metric bigint) returns table (metric_id bigint, level bigint, direct boolean)
language sql stable
as $$
    with recursive reached (metric_id, name, direct) as (
        select m.metric_id, m.name, false
        from metric_registry m
        where m.metric_id = of_metric
        union
        select d.metric_id, d.name, r.metric_id = of_metric
        from reached r
        join derived_metrics d on d.dependencies ? r.name
    ), placed (metric_id, name, level) as (
        select d.metric_id, d.name, 1::bigint
        from derived_metrics d
        union
        select d.metric_id, d.name, p.level + 1
        from placed p
        join derived_metrics d on d.dependencies ? p.name
    )
    select r.metric_id, (select max(p.level) from placed p where p.metric_id = r.metric_id), bool_or(r.direct)
    from reached r
    where r.metric_id <> of_metric
    group by r.metric_id
    order by 2, 1
$$;

comment on function dependents is
    'The metrics that depend on a metric, directly or by others, in the order in which their windows are locked: what depends on another '
    'comes after it, by a level that is the same whichever metric is asked about.';

create function lacks_dependency(of_metric bigint, of_size text, of_chain text, of_window timestamptz) returns boolean
language sql stable
as $$
    select exists (
        select
        from derived_metrics d
        cross join jsonb_array_elements_text(d.dependencies) as n (name)
        where d.metric_id = of_metric
          and not exists (
              select
              from metric_registry m
              join final_windows f using (metric_id)
              where m.name = n.name
                and m.deleted_at is null
                and f.bucket_size = of_size
                and f.chain = of_chain
                and f.bucket_start = of_window
          )
    )
$$;

comment on function lacks_dependency is 'Whether a window depends on one that is not final.';

create function request_dependents(of_metric bigint, of_size text, of_chain text, of_windows timestamptz[]) returns void
language plpgsql
as $$
declare
    ready timestamptz[];
    dependent record;
begin
    if not exists (select from derived_metrics) then
        return;
    end if;
    -- Whoever has another metric depend on this one looks at its windows afterwards, or is seen here.
    perform from metric_registry m where m.metric_id = of_metric for share;
    select coalesce(array_agg(f.bucket_start order by f.bucket_start), '{}') into ready
    from final_windows f
    where f.metric_id = of_metric and f.bucket_size = of_size and f.chain = of_chain and f.bucket_start = any (of_windows);
    for dependent in
        select d.metric_id, d.direct, m.name, m.type, m.definition ->> 'complexity' as complexity
        from dependents(of_metric) d
        join metric_registry m using (metric_id)
        where m.definition -> 'bucket_sizes' ? of_size and m.definition -> 'chains' ? of_chain
        order by d.level, d.metric_id
    loop
        perform
        from windows w
        where w.metric_id = dependent.metric_id
          and w.bucket_size = of_size
          and w.chain = of_chain
          and w.bucket_start = any (of_windows)
        order by w.bucket_start
        for update;
        with opened as (
            update windows w
            set final = false, finalized_at = coalesce(w.finalized_at, '-infinity')
            where w.metric_id = dependent.metric_id
              and w.bucket_size = of_size
              and w.chain = of_chain
              and w.bucket_start = any (of_windows)
              and w.final
            returning w.bucket_start
        )
        insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, details)
        select 'dev.chainmetrics.bucket.revised.v1', dependent.name, dependent.type, dependent.complexity, of_size, o.bucket_start,
               of_chain, '{"reason": "dependency"}'
        from opened o
        order by o.bucket_start;
        if dependent.direct then
            -- The row is locked also where it is new, so that of two dependencies that become final at the same time the second one sees
            -- the first.
            insert into windows (metric_id, bucket_size, bucket_start, chain)
            select dependent.metric_id, of_size, w.bucket_start, of_chain
            from unnest(ready) as w (bucket_start)
            order by w.bucket_start
            on conflict (metric_id, bucket_size, bucket_start, chain) do update
            set final = false;
            perform request_derived(dependent.metric_id, of_size, of_chain, ready);
        end if;
    end loop;
end
$$;

comment on function request_dependents is
    'Takes finality from the windows of metrics that depend on one of which some windows have become final, have changed, or are final no '
    'longer, and requests runs of those whose dependencies are all final. Its caller has changed these windows in the same transaction.';

create function request_derived(of_metric bigint, of_size text, of_chain text, of_windows timestamptz[]) returns void
language sql
as $$
    insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
    select of_metric, of_size, of_chain, w.bucket_start, 'dependency'
    from unnest(of_windows) as w (bucket_start)
    where not lacks_dependency(of_metric, of_size, of_chain, w.bucket_start)
    order by w.bucket_start
    on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do update -- a claim of it waits
    set reason = excluded.reason
$$;

comment on function request_derived is
    'Requests runs of those windows of a derived metric whose dependencies are all final.';

create function request_all_derived(of_metric bigint) returns void
language sql
as $$
    select request_derived(f.of_metric, f.bucket_size, f.chain, f.windows)
    from (
        select d.metric_id as of_metric, f.bucket_size, f.chain, array_agg(f.bucket_start order by f.bucket_start) as windows
        from derived_metrics d
        join metric_registry r using (metric_id)
        join metric_registry m on m.name = d.dependencies ->> 0 and m.deleted_at is null
        join final_windows f on f.metric_id = m.metric_id
        where d.metric_id = request_all_derived.of_metric
          and r.definition -> 'bucket_sizes' ? f.bucket_size
          and r.definition -> 'chains' ? f.chain
        group by d.metric_id, f.bucket_size, f.chain
    ) f
$$;

comment on function request_all_derived is
    'Requests runs of all windows of a derived metric whose dependencies are all final: it is new, or calculates otherwise.';

create function open_dependents(of_metric bigint) returns void
language plpgsql
as $$
declare
    dependent bigint;
begin
    for dependent in select d.metric_id from dependents(of_metric) d order by d.level, d.metric_id loop
        update windows w
        set final = false, finalized_at = coalesce(w.finalized_at, '-infinity')
        where w.metric_id = dependent and w.final;
    end loop;
end
$$;

comment on function open_dependents is
    'Takes finality from all windows that depend on a metric, which calculates otherwise now.';

alter table runs
    drop constraint runs_reason_check,
    add constraint runs_reason_check check (
        reason in ('due', 'history', 'backfill', 'cleared', 'reverted', 'late', 'passed', 'imported', 'corrected', 'dependency')
    );

comment on column runs.reason is
    'due: the window has ended; history: the metric, or its calculation, is newer than the window; backfill: a person has asked; '
    'cleared: a person doubts it; reverted: a reorganisation has taken back some of its events; late: an event has come after it '
    'was final; passed: its function has passed over some of its events; imported: events of it were imported; corrected: a '
    'smaller window, of which it may have been made, was put right; dependency: all that it is derived from is final.';

alter table bucket_revisions
    drop constraint bucket_revisions_reason_check,
    add constraint bucket_revisions_reason_check check (
        reason in ('late', 'reverted', 'imported', 'definition', 'drift', 'cleared', 'dependency')
    );

comment on column bucket_revisions.reason is
    'late: the stream has brought an event after the window was final, also of a new branch; reverted: a reorganisation took events '
    'back; imported: events were imported into the archive; definition: the metric calculates otherwise; dependency: a metric that '
    'it is derived from has changed; cleared: a person has had it computed again; drift: it was not the state of its events, and '
    'nothing explains that.';

create or replace function revision_reason(of_run text, of_metric bigint, of_size text, of_chain text, of_window timestamptz) returns text
language sql stable
as $$
    select case
               when e.reason in ('reverted', 'imported', 'dependency') then e.reason
               when e.reason = 'passed' then 'late'
               when e.reason = 'history' then 'definition'
               when of_run = 'cleared' then 'cleared'
               -- What has come later is in the buckets of a query when that has run.
               when of_run in ('due', 'late') and exists (
                   select from metric_registry m where m.metric_id = of_metric and m.definition -> 'calculation_logic' ? 'sql'
               ) then 'late'
               else 'drift'
           end
    from (
        select case
                   when explains_changes(of_run) then of_run
                   else (
                       select q.reason
                       from runs q
                       where q.metric_id = of_metric
                         and q.bucket_size = of_size
                         and q.chain = of_chain
                         and q.bucket_start = of_window
                         and q.state = 'queued'
                         and explains_changes(q.reason)
                   )
               end as reason
    ) e
$$;
