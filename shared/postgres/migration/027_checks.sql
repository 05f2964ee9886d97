-- Checks: conditions of a definition that the buckets of a window do not meet.

create table check_failures (
    metric_id    bigint not null,
    bucket_size  text collate "C" not null,
    bucket_start timestamptz not null,
    chain        text collate "C" not null,
    check_name   text collate "C" not null,
    severity     text not null check (severity in ('warn', 'block')),
    message      text not null,
    run_id       bigint,
    failed_at    timestamptz not null default clock_timestamp(),
    primary key (metric_id, bucket_size, bucket_start, chain, check_name)
);

comment on table check_failures is
    'The checks that windows fail, as of their last computation after everything had come to them. What a window passes has no row.';
comment on column check_failures.metric_id is 'Row of metric_registry. No foreign key, as in metrics_data.';
comment on column check_failures.bucket_start is 'The window contains its start.';
comment on column check_failures.check_name is 'Kind and argument as the definition has them, or the text of an expression.';
comment on column check_failures.severity is 'warn: the window is final all the same; block: it stays provisional.';
comment on column check_failures.message is 'What the first bucket fails for, and how many others do.';
comment on column check_failures.run_id is 'The run that has found it; null where the window was computed by no run.';
comment on column check_failures.failed_at is 'Since when it fails like this.';

create function may_be_final(of_metric bigint, of_size text, of_chain text, of_window timestamptz) returns boolean
language sql stable
as $$
    select not exists (
               select
               from runs q
               where q.metric_id = of_metric
                 and q.bucket_size = of_size
                 and q.chain = of_chain
                 and q.bucket_start = of_window
                 and q.state = 'queued'
           )
           and not lacks_dependency(of_metric, of_size, of_chain, of_window)
$$;

comment on function may_be_final is
    'Whether nothing that the store knows keeps a window provisional that has just been computed: no run of it is queued, and all that it '
    'depends on is final.';

create function is_blocked(of_metric bigint, of_size text, of_chain text, of_window timestamptz) returns boolean
language sql stable
as $$
    select exists (
        select
        from check_failures c
        where c.metric_id = of_metric
          and c.bucket_size = of_size
          and c.chain = of_chain
          and c.bucket_start = of_window
          and c.severity = 'block'
    )
$$;

comment on function is_blocked is 'Whether a check keeps a window provisional, so that what changes it has it computed again.';
