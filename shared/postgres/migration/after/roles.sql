-- Makes sure of the role of metrics' queries, of what it owns, and of what it may read; after every migration, also where there was
-- nothing to migrate: roles belong to a server, and a database that was restored may have met another one.
do $$
declare
    template constant regprocedure := 'query_template(text, timestamptz, timestamptz, text, bigint)';
    schema constant text := current_schema();
    login constant text := current_user;
begin
    if not exists (select from pg_roles where rolname = 'chainmetrics_sql') then
        begin
            create role chainmetrics_sql nologin;
        exception
            when duplicate_object or unique_violation then -- another database of the server was faster
                null;
        end;
    end if;
    if (select rolsuper or rolcanlogin from pg_roles where rolname = 'chainmetrics_sql') then
        raise exception 'the role chainmetrics_sql may do more than read the archive'
            using hint = 'Run as a superuser: alter role chainmetrics_sql nologin nosuperuser.';
    end if;
    begin
        set local role chainmetrics_sql;
        reset role;
    exception
        when insufficient_privilege then -- who has made a role may let itself be that role
            execute format('grant chainmetrics_sql to %I', login);
            set local role chainmetrics_sql;
            reset role;
    end;
    if (select proowner from pg_proc where oid = template) <> 'chainmetrics_sql'::regrole then
        if not has_schema_privilege('chainmetrics_sql', schema, 'create') then
            execute format('grant create on schema %I to chainmetrics_sql', schema); -- who owns something there may create there
            execute format('alter function %s owner to chainmetrics_sql', template);
            execute format('revoke create on schema %I from chainmetrics_sql', schema);
        else
            execute format('alter function %s owner to chainmetrics_sql', template);
        end if;
    end if;
    if not has_schema_privilege('chainmetrics_sql', schema, 'usage') then
        execute format('grant usage on schema %I to chainmetrics_sql', schema);
    end if;
    set local role chainmetrics_sql;
    execute format('alter function %s set search_path to %I, pg_temp', template, schema);
    execute format('revoke execute on function %s from public, chainmetrics_sql', template);
    execute format('grant execute on function %s to %I', template, login);
    reset role;
    grant select on blocks, transactions, logs, token_transfers, archived_events to chainmetrics_sql;
exception
    when insufficient_privilege then
        raise exception '%', sqlerrm using
            errcode = 'insufficient_privilege',
            hint = format(
                'Let an administrator run in this database: create role chainmetrics_sql nologin; '
                'grant chainmetrics_sql to %1$I; alter schema %2$I owner to %1$I', login, schema
            );
end
$$;
