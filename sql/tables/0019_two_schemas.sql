-- Two schemas: `sidecar` keeps what users call and read, everything else moves to `sidecar_internal`.
--
-- The present schema is renamed and a new `sidecar` made, to which the public objects go back. Renaming a schema locks none of
-- its tables, so no transaction of a user's is waited for, and triggers, grants and whatever depends on an object keep it by its
-- number. That needs CREATE on the database. Where nothing has been watched yet there are no writers to wait for, and objects can
-- be moved one by one into a `sidecar_internal` that was made beforehand.

-- What the status, failures and functions of other roles need stays with them: privileges are the objects' own.
do $$
declare
    public_routines constant text[] := array['watch', 'unwatch', 'pause', 'resume', 'retry', 'reembed', 'set_rate', 'verify', 'status_exact',
        'search', 'hybrid_search', 'search_exposed', 'wait_embedded', 'grant_worker', 'grant_reader', 'revoke_grants', 'uninstall', 'installation', 'renew_triggers'];
    public_relations constant text[] := array['status', 'failures', 'failures_by_reason', 'index_builds', 'alembic_version'];
    owner constant regrole := (select n.nspowner from pg_namespace n where n.nspname = 'sidecar');
    may_create constant boolean := has_database_privilege(current_database(), 'create');
    database constant text := quote_ident(current_database());
    granted record;
    moved record;
begin
    if exists (select from pg_class c where c.relnamespace = to_regnamespace('sidecar_internal'))
            or exists (select from pg_proc p where p.pronamespace = to_regnamespace('sidecar_internal')) then
        raise exception 'schema sidecar_internal is there and is not empty' using errcode = 'duplicate_schema',
            hint = 'The sidecar keeps its tables in a schema of that name. Rename yours, or drop it, then run this again.';
    elsif may_create then
        drop schema if exists sidecar_internal;
        alter schema sidecar rename to sidecar_internal;
        execute format('create schema sidecar authorization %s', owner);
        for moved in select format('alter %s set schema sidecar', case c.relkind when 'v' then 'view ' else 'table ' end || c.oid::regclass) as statement
                     from pg_class c where c.relnamespace = 'sidecar_internal'::regnamespace and c.relname = any (public_relations)
                     union all
                     select format('alter routine %s set schema sidecar', p.oid::regprocedure)
                     from pg_proc p where p.pronamespace = 'sidecar_internal'::regnamespace and p.proname = any (public_routines) loop
            execute moved.statement;
        end loop;
        for granted in select a.grantee, a.privilege_type, a.is_grantable from pg_namespace n cross join aclexplode(n.nspacl) a
                       where n.nspname = 'sidecar_internal' and a.grantee <> n.nspowner loop
            execute format('grant %s on schema sidecar to %s%s', granted.privilege_type,
                           case granted.grantee when 0 then 'public' else granted.grantee::regrole::text end,
                           case when granted.is_grantable then ' with grant option' else '' end);
        end loop;
    elsif to_regnamespace('sidecar_internal') is null then
        raise exception 'permission denied to create schema sidecar_internal' using errcode = 'insufficient_privilege',
            hint = case when exists (select from sidecar.watches)
                then format('Let a superuser run: grant create on database %s to %s; then run this again. It may be revoked afterwards.', database, current_user::regrole)
                else format('Let a superuser run: create schema sidecar_internal authorization %s; then run this again.', owner) end;
    elsif exists (select from sidecar.watches) then
        raise exception 'schema sidecar cannot be renamed without CREATE on database %', current_database() using errcode = 'insufficient_privilege',
            hint = format('Let a superuser run: grant create on database %s to %s; then run this again. It may be revoked afterwards.', database, current_user::regrole);
    else
        for moved in select format('alter %s set schema sidecar_internal', case c.relkind when 'v' then 'view ' when 'S' then 'sequence ' else 'table ' end
                                   || c.oid::regclass) as statement
                     from pg_class c where c.relnamespace = 'sidecar'::regnamespace and c.relkind in ('r', 'p', 'v', 'S') and c.relname <> all (public_relations)
                       and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')
                                       and c.relkind = 'S')
                     union all
                     select format('alter routine %s set schema sidecar_internal', p.oid::regprocedure)
                     from pg_proc p where p.pronamespace = 'sidecar'::regnamespace and p.proname <> all (public_routines) loop
            execute moved.statement;
        end loop;
        for granted in select a.grantee from pg_namespace n cross join aclexplode(n.nspacl) a
                       where n.nspname = 'sidecar' and a.grantee <> n.nspowner and a.privilege_type = 'USAGE' loop
            execute format('grant usage on schema sidecar_internal to %s',
                           case granted.grantee when 0 then 'public' else granted.grantee::regrole::text end);
        end loop;
    end if;
end $$;

-- One name for the table and the view on it.
alter table sidecar_internal.dead_letters rename to failures;
do $$
declare
    named record;
begin
    -- Postgres 18 names NOT NULL constraints, too.
    for named in select c.conname, replace(c.conname, 'dead_letters', 'failures') as name from pg_constraint c
                 where c.conrelid = 'sidecar_internal.failures'::regclass and c.conname like 'dead\_letters\_%' loop
        execute format('alter table sidecar_internal.failures rename constraint %I to %I', named.conname, named.name);
    end loop;
end $$;

-- Functions that have another name from now on.
do $$
declare
    renamed record;
begin
    for renamed in select p.oid::regprocedure as name from pg_proc p
                   where p.pronamespace = 'sidecar_internal'::regnamespace and p.proname in (
                       'dress_companion', 'rests_on', 'take_up_names', 'need_watch', 'may_fill', 'count_orphans', 'count_strangers',
                       'drop_stray_triggers', 'tell_of_former_indexes', 'way_to_a_running_model', 'check_place', 'unreadable_filter',
                       'look_at_horizon', 'front', 'share_like', 'inputs_of', 'builds') loop
        execute format('drop function %s', renamed.name);
    end loop;
end $$;
