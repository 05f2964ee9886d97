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

create function dependents(of_metrics bigint[]) returns table (source bigint, metric_id bigint, level integer, direct boolean)
language sql stable
as $$
    with recursive edges (dependency, dependent) as materialized (
        select m.metric_id, d.metric_id
        from derived_metrics d
        cross join jsonb_array_elements_text(d.dependencies) as n (name)
        join metric_registry m on m.name = n.name and m.deleted_at is null
    ), reached (source, metric_id, direct) as (
        select e.dependency, e.dependent, true
        from edges e
        where e.dependency = any (of_metrics)
        union
        select r.source, e.dependent, false
        from reached r
        join edges e on e.dependency = r.metric_id
    ), placed (metric_id, level) as (
        select e.dependent, 1
        from edges e
        union
        select e.dependent, p.level + 1
        from placed p
        join edges e on e.dependency = p.metric_id
    )
    select r.source, r.metric_id, max(p.level), bool_or(r.direct)
    from reached r
    join (select p.metric_id, max(p.level) as level from placed p group by p.metric_id) p using (metric_id)
    group by r.source, r.metric_id
$$;

comment on function dependents is
    'The metrics that depend on some, their sources, directly or by others. Windows are locked in the order of level and metric: what '
    'depends on another has a higher level, which is the same whichever metric is asked about.';

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

create function request_dependents(of_metrics bigint[], of_sizes text[], of_windows timestamptz[], of_chains text[]) returns void
language plpgsql
as $$
declare
    metrics bigint[];
    sizes text[];
    chains text[];
    starts timestamptz[];
    ready boolean[];
begin
    -- Whoever has another metric depend on one of these looks at their windows afterwards, or is seen here.
    perform from metric_registry m where m.metric_id = any (of_metrics) order by m.metric_id for share;
    if not exists (
        select
        from derived_metrics d
        where d.dependencies ?| array(select m.name from metric_registry m where m.metric_id = any (of_metrics))
    ) then
        return;
    end if;

    select array_agg(t.metric_id), array_agg(t.bucket_size), array_agg(t.chain), array_agg(t.bucket_start), array_agg(t.ready)
    into metrics, sizes, chains, starts, ready
    from (
        select d.metric_id, k.bucket_size, k.chain, k.bucket_start, bool_or(d.direct and f.metric_id is not null) as ready
        from unnest(of_metrics, of_sizes, of_windows, of_chains) as k (metric_id, bucket_size, bucket_start, chain)
        join dependents(of_metrics) d on d.source = k.metric_id
        join metric_registry m on m.metric_id = d.metric_id
        left join final_windows f
            on f.metric_id = k.metric_id
            and f.bucket_size = k.bucket_size
            and f.bucket_start = k.bucket_start
            and f.chain = k.chain
        where m.definition -> 'bucket_sizes' ? k.bucket_size and m.definition -> 'chains' ? k.chain
        group by d.level, d.metric_id, k.bucket_size, k.chain, k.bucket_start
        order by d.level, d.metric_id, k.bucket_size, k.chain, k.bucket_start
    ) t;
    if metrics is null then
        return;
    end if;

    -- Windows get a row where they have none, so that all are locked: of two dependencies that become final at the same time the second
    -- one sees the first, and a run that is about to end, what it has not seen.
    insert into windows (metric_id, bucket_size, bucket_start, chain)
    select t.metric_id, t.bucket_size, t.bucket_start, t.chain
    from unnest(metrics, sizes, chains, starts) with ordinality as t (metric_id, bucket_size, chain, bucket_start, place)
    order by t.place
    on conflict (metric_id, bucket_size, bucket_start, chain) do nothing;
    perform
    from unnest(metrics, sizes, chains, starts) with ordinality as t (metric_id, bucket_size, chain, bucket_start, place)
    join windows w using (metric_id, bucket_size, bucket_start, chain)
    order by t.place
    for update of w;

    with opened as (
        update windows w
        set final = false, finalized_at = coalesce(w.finalized_at, '-infinity')
        from unnest(metrics, sizes, chains, starts) as t (metric_id, bucket_size, chain, bucket_start)
        where w.metric_id = t.metric_id
          and w.bucket_size = t.bucket_size
          and w.bucket_start = t.bucket_start
          and w.chain = t.chain
          and w.final
        returning w.metric_id, w.bucket_size, w.bucket_start, w.chain
    )
    insert into outbox (type, metric, metric_type, complexity, bucket_size, bucket_start, chain, details)
    select 'dev.chainmetrics.bucket.revised.v1', m.name, m.type, m.definition ->> 'complexity', o.bucket_size, o.bucket_start, o.chain,
           '{"reason": "dependency"}'
    from opened o
    join metric_registry m using (metric_id)
    order by o.metric_id, o.bucket_size, o.bucket_start, o.chain;

    insert into runs (metric_id, bucket_size, chain, bucket_start, reason)
    select t.metric_id, t.bucket_size, t.chain, t.bucket_start, 'dependency'
    from unnest(metrics, sizes, chains, starts, ready) with ordinality as t (metric_id, bucket_size, chain, bucket_start, ready, place)
    where t.ready and not lacks_dependency(t.metric_id, t.bucket_size, t.chain, t.bucket_start)
    order by t.place
    on conflict (metric_id, bucket_size, chain, bucket_start) where state = 'queued' do update -- a claim of it waits
    set reason = excluded.reason;
end
$$;

comment on function request_dependents is
    'For windows, of one place in each array, that have become final, have changed, or are final no longer: takes finality from those of '
    'the metrics that depend on theirs, and requests runs of them where all that they depend on is final. The caller has changed the windows '
    'in the same transaction, in which it is called once, so that all windows are locked in one order.';

create function open_dependents(of_metric bigint) returns void
language plpgsql
as $$
declare
    dependent bigint;
begin
    for dependent in select d.metric_id from dependents(array[of_metric]) d order by d.level, d.metric_id loop
        perform from metric_registry m where m.metric_id = dependent for no key update; -- a window that is being finished is seen then
        perform
        from windows w
        where w.metric_id = dependent and w.final
        order by w.bucket_size, w.chain, w.bucket_start
        for update;
        update windows w
        set final = false, finalized_at = coalesce(w.finalized_at, '-infinity')
        where w.metric_id = dependent and w.final;
    end loop;
end
$$;

comment on function open_dependents is
    'Takes finality from all windows that depend on a metric, which calculates otherwise now.';

create table derived_history (
    metric_id       bigint not null references metric_registry on delete cascade,
    bucket_size     text collate "C" not null,
    chain           text collate "C" not null,
    requested_until timestamptz not null default '-infinity',
    primary key (metric_id, bucket_size, chain)
);

comment on table derived_history is
    'Derived metrics of which runs have still to be requested for windows that were final in what they depend on before them.';
comment on column derived_history.requested_until is 'The start of the last window that was looked at.';

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
