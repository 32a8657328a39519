-- Installer, worker and reader: their privileges, and what a role lacks.

-- Roles with grants of ours, recognised by privileges on tables that no other role has a use for.
create or replace function sidecar_internal.roles() returns table (role regrole, kind text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select a.grantee::regrole, case when bool_or(c.relname = 'sidecars') then 'worker' else 'reader' end
        from pg_class c cross join aclexplode(c.relacl) a
        where c.oid in ('sidecar_internal.sidecars'::regclass, 'sidecar_internal.progress'::regclass) -- by the index, in a catalogue of many tables
          and a.grantee not in (0, c.relowner)
          and ((c.oid = 'sidecar_internal.sidecars'::regclass and a.privilege_type = 'INSERT')
               or (c.oid = 'sidecar_internal.progress'::regclass and a.privilege_type = 'SELECT'))
        group by a.grantee;
$$;

-- The role that owns both schemas.
create or replace function sidecar_internal.installer() returns regrole
language sql stable set search_path = pg_catalog, pg_temp as $$
    select n.nspowner::regrole from pg_namespace n where n.nspname = 'sidecar';
$$;

-- True if a role of this kind may execute the function without gaining rights: functions that run with the caller's rights, and
-- a few listed ones that run with ours. Trigger functions are excluded; readers get only what changes nothing.
create or replace function sidecar_internal.may_call(kind text, function oid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select p.proname in ('backlog', 'status_of', 'status_exact', 'wait_embedded', 'wait_one_embedded', 'check_row_exists', 'events_of_key',
                         'is_waiting', 'is_done', 'state_of_row', 'state_of_watch', 'sample_source', 'embed', 'embed_content',
                         'request_vector', 'read_answer', 'embed_in_statement', 'embed_connection_fault', 'recall', 'sample_vectors',
                         'nearest_distances', 'keep_recall')
        or (p.proname = 'follow_changes' and may_call.kind = 'worker')
        or (not p.prosecdef and p.prorettype <> 'trigger'::regtype and (may_call.kind = 'worker' or p.provolatile <> 'v'))
        from pg_proc p where p.oid = may_call.function;
$$;

-- What a role of this kind needs in both schemas, apart from the tables of single watches. Functions that run with the caller's
-- rights, such as wait_embedded, name objects of `sidecar_internal`: without USAGE on it they could not be parsed.
create or replace function sidecar_internal.grant_schema(role regrole, kind text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    routine record;
    views text;
begin
    select string_agg(c.oid::regclass::text, ', ') into views
        from pg_class c where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'v';
    execute format('grant usage on schema sidecar, sidecar_internal to %s', role);
    execute format('grant select on %s, sidecar_internal.watches, sidecar_internal.progress, sidecar_internal.sidecars, '
                   'sidecar_internal.index_failures, sidecar_internal.query_servers, sidecar_internal.recalls, sidecar_internal.labels to %s', views, role);
    if kind = 'worker' then
        execute format('grant select on all tables in schema sidecar, sidecar_internal to %s', role);
        -- Without the columns that our functions build statements from.
        execute format('grant update (%s) on sidecar_internal.watches to %s', (
            select string_agg(quote_ident(a.attname), ', ') from pg_attribute a
                where a.attrelid = 'sidecar_internal.watches'::regclass
                  and a.attname in ('model', 'fingerprint', 'encoder', 'truncated_gen', 'paused', 'broken', 'rows_per_s')), role);
        execute format('grant insert, update, delete on sidecar_internal.scans, sidecar_internal.failures, sidecar_internal.wake, '
                       'sidecar_internal.sidecars, sidecar_internal.progress, sidecar_internal.index_failures, '
                       'sidecar_internal.query_servers, sidecar_internal.query_vectors, sidecar_internal.recalls, sidecar_internal.labels to %s', role);
        execute format('grant usage, select, update on sequence sidecar_internal.generation, sidecar_internal.notified to %s', role);
    end if;
    for routine in select p.oid::regprocedure as name from pg_proc p
                   where p.pronamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
                     and sidecar_internal.may_call(grant_schema.kind, p.oid) loop
        execute format('grant execute on routine %s to %s', routine.name, role);
    end loop;
end $$;

-- Grants a worker the tables of one watch.
create or replace function sidecar_internal.grant_queue(watch_id integer, role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    queue regclass;
begin
    for queue in select * from sidecar_internal.queue_of(watch_id) loop
        execute format('grant select, insert, update, delete on %s to %s', queue, role);
    end loop;
    if to_regclass(format('sidecar_internal.asleep_%s', watch_id)) is not null then
        execute format('grant usage, select, update on sequence sidecar_internal.asleep_%s to %s', watch_id, role);
    end if;
end $$;

-- The columns of the watched table that a watch works with, of those that exist. `written` is the target if it is one of them.
create or replace function sidecar_internal.columns_of(w sidecar_internal.watches, out readable text, out written text, out keys text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attname <> w.target or w.companion is null or a.attname = any (w.expose)),
           string_agg(quote_ident(a.attname), ', ') filter (where a.attname = w.target),
           string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attname = any (w.key_columns))
        from pg_attribute a
        where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
          and a.attname = any (w.key_columns || w.source || w.target || w.expose);
$$;

-- What a role lacks to work on a watch, and the statements that grant it.
create or replace function sidecar_internal.denials_of(w sidecar_internal.watches, role name) returns table (what text, remedy text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    with watched as (
        select c.oid, c.relnamespace from pg_class c where c.oid in (w.relation, w.companion)
    ), column_right as (
        select r.action, string_agg(quote_ident(a.attname), ', ' order by a.attnum) as columns
            from pg_attribute a cross join (values ('select'), ('update')) as r(action)
            where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
              and ((a.attname = w.target and w.companion is null) or (r.action = 'select' and a.attname = any (w.key_columns || w.source)))
              and not has_column_privilege(denials_of.role, w.relation, a.attnum, r.action)
            group by r.action
    ), table_right as (
        select string_agg(r.action, ', ' order by r.position) as actions
            from unnest(array['select', 'insert', 'update', 'delete']) with ordinality as r(action, position)
            where exists (select from watched h where h.oid = w.companion)
              and not has_table_privilege(denials_of.role, w.companion, r.action)
    ), denial(what, remedy) as (
        select format('%I may not use schema %I', denials_of.role, n.nspname),
               format('grant usage on schema %I to %I', n.nspname, denials_of.role)
            from pg_namespace n
            where (n.oid in (select h.relnamespace from watched h) or n.oid = (select e.extnamespace from pg_extension e where e.extname = 'vector'))
              and not has_schema_privilege(denials_of.role, n.oid, 'usage')
        union all
        select format('%I may not %s %s of %s', denials_of.role, c.action, c.columns, w.relation),
               format('grant %s (%s) on %s to %I', c.action, c.columns, w.relation, denials_of.role) from column_right c
        union all
        select format('%I may not %s on %s', denials_of.role, t.actions, w.companion),
               format('grant %s on %s to %I', t.actions, w.companion, denials_of.role) from table_right t where t.actions is not null
        union all
        select format('row-level security of %s hides rows from %I', h.oid::regclass, denials_of.role),
               format('alter role %I bypassrls', denials_of.role)
            from watched h where sidecar_internal.rls_hides(h.oid, denials_of.role)
    )
    select * from denial d where exists (select from pg_roles r where r.rolname = denials_of.role);
$$;

-- The same in one line. NULL if it lacks nothing.
create or replace function sidecar_internal.denial_of(w sidecar_internal.watches, role name) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(d.what || ': ' || d.remedy, '; ' order by d.what) from sidecar_internal.denials_of(w, role) d;
$$;

-- Grants the workers what they need of the user's tables, and the installer what it needs to count rows, as far as the caller
-- may. Warns of what is still missing.
create or replace function sidecar_internal.grant_table(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    worker regrole;
    is_owner constant boolean := (select pg_has_role(c.relowner, 'usage') from pg_class c where c.oid = w.relation);
    readable constant text := (sidecar_internal.columns_of(w)).readable;
    denied text;
begin
    if is_owner and not has_any_column_privilege(sidecar_internal.installer()::oid, w.relation, 'select') then
        perform sidecar_internal.grant_schemas(w, sidecar_internal.installer());
        execute format('grant select (%s) on %s to %s', (sidecar_internal.columns_of(w)).keys, w.relation, sidecar_internal.installer());
    end if;
    for worker in select r.role from sidecar_internal.roles() r where r.kind = 'worker' loop
        if is_owner and concat(sidecar_internal.denial_of(w, pg_get_userbyid(worker)), sidecar_internal.unreadable_columns(w, pg_get_userbyid(worker))) <> '' then
            perform sidecar_internal.grant_schemas(w, worker);
            execute format('grant select (%s) on %s to %s', readable, w.relation, worker);
            if w.companion is null then
                execute format('grant update (%I) on %s to %s', w.target, w.relation, worker);
            else
                execute format('grant select, insert, update, delete on %s to %s', w.companion, worker);
            end if;
        end if;
        denied := sidecar_internal.denial_of(w, pg_get_userbyid(worker));
        if denied is not null then
            raise warning 'the sidecar cannot work on % yet: %', w.relation, denied
                using hint = 'Let the owner, or a superuser, run the statement.';
        end if;
        denied := sidecar_internal.unreadable_columns(w, pg_get_userbyid(worker));
        if denied is not null then
            raise warning 'searches of % cannot show % yet', w.relation, denied
                using hint = format('Let the owner, or a superuser, run: grant select (%s) on %s to %s', denied, w.relation, worker);
        end if;
    end loop;
end $$;

-- Grants USAGE on the schemas of a watch's tables and of pgvector, where it is missing and the caller may grant it.
create or replace function sidecar_internal.grant_schemas(w sidecar_internal.watches, role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    schema name;
begin
    for schema in select n.nspname from pg_namespace n
                  where (n.nspname = sidecar_internal.vector_schema()
                         or n.oid in (select c.relnamespace from pg_class c where c.oid in (w.relation, w.companion)))
                    and not has_schema_privilege(grant_schemas.role::oid, n.oid, 'usage')
                    and has_schema_privilege(n.oid, 'usage with grant option') loop
        execute format('grant usage on schema %I to %s', schema, role);
    end loop;
end $$;

-- Revokes what grant_table granted, except what other watches of the table need. USAGE on schemas stays. Warns if that fails:
-- the end of a watch must not depend on it.
create or replace function sidecar_internal.revoke_table(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    worker regrole;
    c record := sidecar_internal.columns_of(w);
    readable constant text := concat_ws(', ', c.readable, case when w.companion is not null then c.written end);
    other sidecar_internal.watches;
begin
    if readable = '' or not exists (select from pg_class k where k.oid = w.relation and pg_has_role(k.relowner, 'usage')) then
        return; -- its columns or the table are gone, or it belongs to another role
    end if;
    for worker in select r.role from sidecar_internal.roles() r where r.kind = 'worker' union select sidecar_internal.installer() loop
        if exists (select from pg_class k where k.oid = w.relation and k.relowner = worker) then
            continue; -- an owner's privileges are not from us
        end if;
        execute format('revoke select (%s) on %s from %s', readable, w.relation, worker);
        if c.written is not null then
            execute format('revoke update (%s) on %s from %s', c.written, w.relation, worker);
        end if;
        if exists (select from pg_class k where k.oid = w.companion and k.relowner <> worker) then
            execute format('revoke all on %s from %s', w.companion, worker);
        end if;
    end loop;
    for other in select * from sidecar_internal.watches x where x.relation = w.relation and x.id <> w.id and x.unwatched_at is null loop
        perform sidecar_internal.grant_table(other);
    end loop;
exception when others then
    raise warning 'the sidecar''s grants on % could not be taken back: %', w.relation, sqlerrm;
end $$;

-- Makes a role one that `sidecar serve` may connect as, now and for later watches. Warns of tables of other owners, who have to
-- call it, too.
create or replace function sidecar.grant_worker(role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches;
begin
    perform sidecar_internal.check_role(role);
    perform sidecar_internal.grant_schema(role, 'worker');
    for w in select * from sidecar_internal.watches x order by x.id loop
        perform sidecar_internal.grant_queue(w.id, role);
        if w.unwatched_at is null and exists (select from pg_class c where c.oid = w.relation) then
            perform sidecar_internal.grant_table(w);
        end if;
    end loop;
end $$;
comment on function sidecar.grant_worker is
    'Grants a role what `sidecar serve` needs when it connects as that role, for present and future watches. Owners of watched '
    'tables call it for their tables.';

-- Lets a role read status and failures, wait for rows and search. Rights on the searched tables are granted by their owners.
create or replace function sidecar.grant_reader(role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform sidecar_internal.check_role(role);
    perform sidecar_internal.grant_schema(role, 'reader');
end $$;
comment on function sidecar.grant_reader is
    'Grants a role what it needs to read status and failures, wait for rows and search. Rights on the searched tables are granted '
    'separately.';

-- Raises if there is no such role.
create or replace function sidecar_internal.check_role(role regrole) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from pg_roles r where r.oid = role) then
        raise exception 'there is no role %', coalesce(role::text, 'NULL') using errcode = 'undefined_object',
            hint = 'Create it first: create role sidecar_worker login;';
    end if;
end $$;

-- Revokes all that grant_worker and grant_reader granted to a role.
create or replace function sidecar.revoke_grants(role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches;
    object text;
begin
    perform sidecar_internal.check_role(role);
    for w in select * from sidecar_internal.watches x where exists (select from sidecar_internal.roles() r where r.role = revoke_grants.role and r.kind = 'worker')
             and exists (select from pg_class c where c.oid = x.relation and pg_has_role(c.relowner, 'usage') and c.relowner <> role) loop
        execute format('revoke all (%s) on %s from %s', concat_ws(', ', (sidecar_internal.columns_of(w)).readable), w.relation, role);
        if exists (select from pg_class c where c.oid = w.companion) then
            execute format('revoke all on %s from %s', w.companion, role);
        end if;
    end loop;
    foreach object in array array['all tables in', 'all sequences in', 'all routines in', ''] loop
        execute format('revoke all on %s schema sidecar, sidecar_internal from %s', object, role);
    end loop;
end $$;
comment on function sidecar.revoke_grants is 'Revokes everything that grant_worker and grant_reader granted to a role.';

-- Grants roles what a migration added. Installs call it.
create or replace function sidecar_internal.renew_grants() returns void
language sql set search_path = pg_catalog, pg_temp as $$
    select sidecar_internal.grant_schema(r.role, r.kind) from sidecar_internal.roles() r;
$$;

-- The exposed columns that a role may not read. NULL if it may read all.
create or replace function sidecar_internal.unreadable_columns(w sidecar_internal.watches, role name) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
        from pg_attribute a join pg_roles r on r.rolname = unreadable_columns.role
        where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped and a.attname = any (w.expose)
          and not has_column_privilege(r.oid, a.attrelid, a.attnum, 'select');
$$;
