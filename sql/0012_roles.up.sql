-- Who may do what.
--
--   installer   owns schema `sidecar` and all in it. Whoever calls sidecar.watch is a member of it, and of the table's owner
--   worker      what `sidecar serve` connects as: its statements, and no others
--   reader      status, failures, wait_embedded, search
--
-- Granted roles are nowhere recorded but in the privileges themselves, which dumps, REVOKE and DROP OWNED know how to treat.

-- Status tells what the roles of running sidecars lack.
alter table sidecar.sidecars add column role name not null default current_user;

-- Roles that were granted something by us, told by tables that nobody else has a use for.
create function sidecar.roles() returns table (role regrole, kind text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select a.grantee::regrole, case when bool_or(c.relname = 'sidecars') then 'worker' else 'reader' end
        from pg_class c cross join aclexplode(c.relacl) a
        where a.grantee not in (0, c.relowner)
          and ((c.oid = 'sidecar.sidecars'::regclass and a.privilege_type = 'INSERT')
               or (c.oid = 'sidecar.progress'::regclass and a.privilege_type = 'SELECT'))
        group by a.grantee;
$$;

create function sidecar.installer() returns regrole
language sql stable set search_path = pg_catalog, pg_temp as $$
    select n.nspowner::regrole from pg_namespace n where n.nspname = 'sidecar';
$$;

-- Whether a role with these functions can do no more than before: they run with its own rights. Trigger functions and the
-- few that run with ours are left out; readers get what changes nothing.
create function sidecar.may_call(kind text, function oid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select p.proname in ('status_of', 'status_exact', 'wait_embedded', 'wait_one_embedded', 'check_row_exists', 'check_not_failed',
                         'newest_event_of', 'ledger_entry_of', 'state_of_watch', 'sample_source')
        or (p.proname = 'follow_changes' and may_call.kind = 'worker')
        or (not p.prosecdef and p.prorettype <> 'trigger'::regtype and (may_call.kind = 'worker' or p.provolatile <> 'v'))
        from pg_proc p where p.oid = may_call.function;
$$;

-- What a role of this kind needs in schema `sidecar`, apart from the tables of single watches.
create function sidecar.grant_schema(role regrole, kind text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    routine record;
    views text;
begin
    select string_agg(c.oid::regclass::text, ', ') into views
        from pg_class c where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'v';
    execute format('grant usage on schema sidecar to %s', role);
    execute format('grant select on %s, sidecar.watches, sidecar.progress, sidecar.sidecars to %s', views, role);
    if kind = 'worker' then
        execute format('grant select on all tables in schema sidecar to %s', role);
        -- Not the columns that functions of ours make statements of.
        execute format('grant update (%s) on sidecar.watches to %s', (
            select string_agg(quote_ident(a.attname), ', ') from pg_attribute a
                where a.attrelid = 'sidecar.watches'::regclass
                  and a.attname in ('model', 'fingerprint', 'encoder', 'truncated_gen', 'paused', 'broken', 'rows_per_s')), role);
        execute format('grant insert, update, delete on sidecar.scans, sidecar.dead_letters, sidecar.wake, sidecar.sidecars, '
                       'sidecar.progress to %s', role);
        execute format('grant usage, select, update on sequence sidecar.generation to %s', role);
    end if;
    for routine in select p.oid::regprocedure as name from pg_proc p
                   where p.pronamespace = 'sidecar'::regnamespace and sidecar.may_call(grant_schema.kind, p.oid) loop
        execute format('grant execute on routine %s to %s', routine.name, role);
    end loop;
end $$;

-- The tables of one watch in schema `sidecar`.
create function sidecar.queue_of(watch_id integer) returns setof regclass
language sql stable set search_path = pg_catalog, pg_temp as $$
    select c.oid::regclass from pg_class c
        where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'r'
          and c.relname ~ format('^(events|delayed|ledger|former)_%s$', watch_id);
$$;

create function sidecar.grant_queue(watch_id integer, role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    queue regclass;
begin
    for queue in select * from sidecar.queue_of(watch_id) loop
        execute format('grant select, insert, update, delete on %s to %s', queue, role);
    end loop;
end $$;

-- Gives what belongs to a watch to the installer, whoever called sidecar.watch: so trigger functions run with the rights of
-- one role that has none on users' tables, and a later migration may change all of it.
create function sidecar.own_queue(watch_id integer) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    installer regrole := sidecar.installer();
    made record;
begin
    for made in select format('table %s', c.oid::regclass) as name from pg_class c
                where c.oid in (select sidecar.queue_of(watch_id)) and c.relowner <> installer
                union all
                select format('function %s', p.oid::regprocedure) from pg_proc p
                where p.pronamespace = 'sidecar'::regnamespace and p.proowner <> installer
                  and p.proname ~ format('^enqueue_%s_[a-z]+$', watch_id) loop
        execute format('alter %s owner to %s', made.name, installer);
    end loop;
end $$;

-- Whether a column's type is the wanted one, or a domain over it.
create function sidecar.rests_on(type regtype, wanted regtype) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select b.type = wanted from sidecar.base_type(rests_on.type, -1) b;
$$;

-- A condition on a row of the user's, 'r', 'new' or 'old': its keys are of the types that the queue has. Of other types, a cast
-- would be called, which whoever owns the table may have made for the purpose, and with our rights.
create function sidecar.keys_fit(w sidecar.watches, row_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select sidecar.for_each_key(w.key_columns, null, format(
        '(pg_typeof(%1$s.%%2$I) = pg_typeof((null::sidecar.events_%2$s).k%%1$s) '
        'or sidecar.rests_on(pg_typeof(%1$s.%%2$I), pg_typeof((null::sidecar.events_%2$s).k%%1$s)))', row_name, w.id), ' and ');
$$;

-- The trigger functions of one watch. They run with the rights of the installer and must not fail the user's statement, for
-- instance because a key column was renamed. So they first name what they need in a block that catches errors and writes
-- nothing: a block that writes would cost a subtransaction id for every statement and every row.
create or replace function sidecar.create_trigger_functions(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    k text := sidecar.for_each_key(w.key_columns, null, 'k%1$s');           -- k1, k2
    rows_key text := sidecar.for_each_key(w.key_columns, null, 'r.%2$I');   -- r.id, r.region
    new_key text := sidecar.for_each_key(w.key_columns, null, 'new.%2$I');
    old_key text := sidecar.for_each_key(w.key_columns, null, 'old.%2$I');
    key_changed text := sidecar.for_each_key(w.key_columns, null,
        'new.%2$I::text collate "C" is distinct from old.%2$I::text collate "C"', ' or ');
begin
    execute format($outer$
        create or replace function sidecar.enqueue_%1$s_statement() returns trigger
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
        begin
            begin
                if tg_op = 'TRUNCATE' then
                    insert into sidecar.events_%1$s select limit 0;
                else
                    insert into sidecar.events_%1$s (%2$s) select %3$s from changed_rows r where %4$s limit 0;
                end if;
            exception when others then
                perform sidecar.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op = 'TRUNCATE' then
                insert into sidecar.events_%1$s default values;
            else
                insert into sidecar.events_%1$s (%2$s) select %3$s from changed_rows r where %4$s;
            end if;
            if found then
                perform sidecar.wake_sleepers();
            elsif exists (select from changed_rows) then
                perform sidecar.report_breakage(%1$s, '42804', 'a key column has got another type');
            end if;
            return null;
        end $f$;
    $outer$, w.id, k, rows_key, sidecar.keys_fit(w, 'r'));

    execute format($outer$
        create or replace function sidecar.enqueue_%1$s_row() returns trigger
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
        begin
            begin
                if not (case when tg_op = 'DELETE' then %7$s else %6$s end) then
                    raise datatype_mismatch using message = 'a key column has got another type';
                elsif tg_op <> 'DELETE' then
                    insert into sidecar.events_%1$s (%2$s) select %3$s limit 0;
                else
                    insert into sidecar.events_%1$s (%2$s) select %4$s limit 0;
                end if;
            exception when others then
                perform sidecar.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op <> 'DELETE' then
                insert into sidecar.events_%1$s (%2$s, force) values (%3$s, tg_nargs > 0);
            end if;
            if tg_op = 'DELETE' or (tg_op = 'UPDATE' and (%5$s)) then
                insert into sidecar.events_%1$s (%2$s) values (%4$s);
            end if;
            perform sidecar.wake_sleepers();
            return null;
        end $f$;
    $outer$, w.id, k, new_key, old_key, key_changed, sidecar.keys_fit(w, 'new'), sidecar.keys_fit(w, 'old'));

    execute format('revoke all on function sidecar.enqueue_%1$s_statement(), sidecar.enqueue_%1$s_row() from public', w.id);
end $$;

-- Whether row-level security hides rows of a table from a role (as Postgres decides it: BYPASSRLS is not inherited).
create function sidecar.rls_hides(relation regclass, role name) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_class c, pg_roles r
                   where c.oid = rls_hides.relation and r.rolname = rls_hides.role and c.relrowsecurity
                     and not (r.rolsuper or r.rolbypassrls)
                     and (c.relforcerowsecurity or not pg_has_role(r.oid, c.relowner, 'usage')));
$$;

-- The columns of the watched table that a watch works with, those that are there. `written`: the target, if it stands there.
create function sidecar.columns_of(w sidecar.watches, out readable text, out written text, out keys text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attname <> w.target or w.companion is null),
           string_agg(quote_ident(a.attname), ', ') filter (where a.attname = w.target),
           string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attname = any (w.key_columns))
        from pg_attribute a
        where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
          and a.attname = any (w.key_columns || w.source || w.target);
$$;

-- What a role lacks to work on a watch, and the statements that mend it.
create function sidecar.denials_of(w sidecar.watches, role name) returns table (what text, remedy text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    with home as (
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
            where exists (select from home h where h.oid = w.companion)
              and not has_table_privilege(denials_of.role, w.companion, r.action)
    ), denial(what, remedy) as (
        select format('%I may not use schema %I', denials_of.role, n.nspname),
               format('grant usage on schema %I to %I', n.nspname, denials_of.role)
            from pg_namespace n
            where (n.oid in (select h.relnamespace from home h) or n.nspname = sidecar.vector_schema())
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
            from home h where sidecar.rls_hides(h.oid, denials_of.role)
    )
    select * from denial d where exists (select from pg_roles r where r.rolname = denials_of.role);
$$;

-- The same in one line; NULL: it lacks nothing.
create function sidecar.denial_of(w sidecar.watches, role name) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(d.what || ': ' || d.remedy, '; ' order by d.what) from sidecar.denials_of(w, role) d;
$$;

-- Gives the workers what they need of the user's tables, and the installer what it needs to count rows, as far as the caller
-- may. Warns of what is missing then.
create function sidecar.grant_table(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    worker regrole;
    is_owner constant boolean := (select pg_has_role(c.relowner, 'usage') from pg_class c where c.oid = w.relation);
    readable constant text := (sidecar.columns_of(w)).readable;
    denied text;
begin
    if is_owner and not has_any_column_privilege(sidecar.installer()::oid, w.relation, 'select') then
        perform sidecar.grant_schemas(w, sidecar.installer());
        execute format('grant select (%s) on %s to %s', (sidecar.columns_of(w)).keys, w.relation, sidecar.installer());
    end if;
    for worker in select r.role from sidecar.roles() r where r.kind = 'worker' loop
        if is_owner and sidecar.denial_of(w, pg_get_userbyid(worker)) is not null then
            perform sidecar.grant_schemas(w, worker);
            execute format('grant select (%s) on %s to %s', readable, w.relation, worker);
            if w.companion is null then
                execute format('grant update (%I) on %s to %s', w.target, w.relation, worker);
            else
                execute format('grant select, insert, update, delete on %s to %s', w.companion, worker);
            end if;
        end if;
        denied := sidecar.denial_of(w, pg_get_userbyid(worker));
        if denied is not null then
            raise warning 'the sidecar cannot work on % yet: %', w.relation, denied
                using hint = 'Let the owner, or a superuser, run the statement.';
        end if;
    end loop;
end $$;

-- USAGE on the schemas of a watch's tables and of pgvector, where it is missing and the caller may grant it.
create function sidecar.grant_schemas(w sidecar.watches, role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    schema name;
begin
    for schema in select n.nspname from pg_namespace n
                  where (n.nspname = sidecar.vector_schema()
                         or n.oid in (select c.relnamespace from pg_class c where c.oid in (w.relation, w.companion)))
                    and not has_schema_privilege(grant_schemas.role::oid, n.oid, 'usage')
                    and has_schema_privilege(n.oid, 'usage with grant option') loop
        execute format('grant usage on schema %I to %s', schema, role);
    end loop;
end $$;

-- Takes back what grant_table gave, except what other watches of the table need. The schemas stay open. Warns where it fails:
-- ending a watch must not depend on it.
create function sidecar.revoke_table(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    worker regrole;
    c record := sidecar.columns_of(w);
    readable constant text := concat_ws(', ', c.readable, case when w.companion is not null then c.written end);
    other sidecar.watches;
begin
    if readable = '' or not exists (select from pg_class k where k.oid = w.relation and pg_has_role(k.relowner, 'usage')) then
        return; -- all its columns are gone, or the table is, or it is somebody else's
    end if;
    for worker in select r.role from sidecar.roles() r where r.kind = 'worker' union select sidecar.installer() loop
        if exists (select from pg_class k where k.oid = w.relation and k.relowner = worker) then
            continue; -- the owner's rights are not ours to take
        end if;
        execute format('revoke select (%s) on %s from %s', readable, w.relation, worker);
        if c.written is not null then
            execute format('revoke update (%s) on %s from %s', c.written, w.relation, worker);
        end if;
        if exists (select from pg_class k where k.oid = w.companion and k.relowner <> worker) then
            execute format('revoke all on %s from %s', w.companion, worker);
        end if;
    end loop;
    for other in select * from sidecar.watches x where x.relation = w.relation and x.id <> w.id and x.unwatched_at is null loop
        perform sidecar.grant_table(other);
    end loop;
exception when others then
    raise warning 'the sidecar''s grants on % could not be taken back: %', w.relation, sqlerrm;
end $$;

-- Makes a role the one that `sidecar serve` may connect as: now, and for whatever is watched later. For tables of other
-- owners it warns: let them call it, too.
create function sidecar.grant_worker(role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
begin
    perform sidecar.check_role(role);
    perform sidecar.grant_schema(role, 'worker');
    for w in select * from sidecar.watches x order by x.id loop
        perform sidecar.grant_queue(w.id, role);
        if w.unwatched_at is null and exists (select from pg_class c where c.oid = w.relation) then
            perform sidecar.grant_table(w);
        end if;
    end loop;
end $$;

-- Lets a role read status and failures, wait for rows and search. Rights on the searched tables are yours to give.
create function sidecar.grant_reader(role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform sidecar.check_role(role);
    perform sidecar.grant_schema(role, 'reader');
end $$;

create function sidecar.check_role(role regrole) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from pg_roles r where r.oid = role) then
        raise exception 'there is no role %', coalesce(role::text, 'NULL') using errcode = 'undefined_object',
            hint = 'Create it first: create role sidecar_worker login;';
    end if;
end $$;

-- Takes back all that grant_worker and grant_reader gave to a role.
create function sidecar.revoke_grants(role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
    object text;
begin
    perform sidecar.check_role(role);
    for w in select * from sidecar.watches x where exists (select from sidecar.roles() r where r.role = revoke_grants.role and r.kind = 'worker')
             and exists (select from pg_class c where c.oid = x.relation and pg_has_role(c.relowner, 'usage') and c.relowner <> role) loop
        execute format('revoke all (%s) on %s from %s', concat_ws(', ', (sidecar.columns_of(w)).readable), w.relation, role);
        if exists (select from pg_class c where c.oid = w.companion) then
            execute format('revoke all on %s from %s', w.companion, role);
        end if;
    end loop;
    foreach object in array array['all tables in', 'all sequences in', 'all routines in', ''] loop
        execute format('revoke all on %s schema sidecar from %s', object, role);
    end loop;
end $$;

-- After a migration: roles get what is new. Installs call it; a recorded role is never dropped by it.
create function sidecar.renew_grants() returns void
language sql set search_path = pg_catalog, pg_temp as $$
    select sidecar.grant_schema(r.role, r.kind) from sidecar.roles() r;
$$;

-- Refuses a table that hides rows from whoever is to read it, before anything is changed: its rows would be missing.
create function sidecar.check_row_security(relation regclass) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    role name;
begin
    for role in select pg_get_userbyid(r.role) from sidecar.roles() r where r.kind = 'worker'
                union select s.role from sidecar.sidecars s where s.seen_at > clock_timestamp() - interval '30 s' loop
        if sidecar.rls_hides(relation, role) then
            raise exception 'row-level security of % hides rows from role %, which the sidecar runs as', relation, quote_ident(role)
                using errcode = 'insufficient_privilege',
                      hint = format('Run: alter role %I bypassrls; or let the sidecar run as the owner of the table, without '
                                    'FORCE ROW LEVEL SECURITY.', role);
        end if;
    end loop;
    if role is null and (select c.relrowsecurity from pg_class c where c.oid = relation) then
        raise warning 'table % has row-level security', relation
            using hint = 'The sidecar has to run as a role with BYPASSRLS, or as the owner without FORCE ROW LEVEL SECURITY.';
    end if;
end $$;

-- wait_embedded for readers: the row is looked for with their own rights and under their row-level security; ledger and
-- events are ours to read. These take the number of a watch, not its row: what a caller makes up must not reach a statement.
-- Nor a type that has taken the name of a key's, with a cast from text that its owner made.
create function sidecar.has_its_types(w sidecar.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select w.key_types = array(select format_type(a.atttypid, a.atttypmod) from pg_attribute a
                               where a.attrelid = to_regclass(format('sidecar.events_%s', w.id)) and a.attname ~ '^k[0-9]+$'
                               order by a.attnum);
$$;

create function sidecar.newest_event_of(watch_id integer, key jsonb) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
begin
    select * into w from sidecar.watches x where x.id = watch_id and x.unwatched_at is null;
    return case when sidecar.has_its_types(w) then sidecar.newest_event(w, key) end;
end $$;

create function sidecar.ledger_entry_of(watch_id integer, key jsonb, out gen bigint, out content_hash bytea)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
begin
    select * into w from sidecar.watches x where x.id = watch_id and x.unwatched_at is null;
    if sidecar.has_its_types(w) then
        execute format('select t.gen, t.content_hash
                        from sidecar.ledger_%s t join sidecar.watches x on x.id = $2 and t.gen > x.truncated_gen
                        where %s and t.content_hash is not null and not exists (select from sidecar.scans s
                            where s.watch_id = $2 and s.purpose = ''clear'' and s.finished_at is null)',
                       w.id, sidecar.key_condition(w, ours => true)) into gen, content_hash using key, w.id;
    end if;
end $$;

create function sidecar.state_of_watch(watch_id integer) returns text
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select sidecar.state_of(w, 1) from sidecar.watches w where w.id = watch_id;
$$;

create or replace function sidecar.wait_one_embedded(w sidecar.watches, key jsonb, deadline timestamptz, timeout_ms integer)
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    wanted_gen bigint;
    entry record;
    pause_s double precision := 0.002;
begin
    perform sidecar.check_row_exists(w, key); -- first, because unwatch locks the user's table before ours
    wanted_gen := sidecar.newest_event_of(w.id, key);
    loop
        -- Each statement of a READ COMMITTED transaction takes a new snapshot, so this sees what the sidecar commits.
        entry := sidecar.ledger_entry_of(w.id, key);
        if entry.gen >= coalesce(wanted_gen, 0) then
            perform sidecar.check_not_failed(w, key, entry.content_hash);
            return;
        end if;
        perform sidecar.check_row_exists(w, key);
        if clock_timestamp() >= deadline then
            raise exception 'row % of % was not embedded within % ms', key, w.relation, timeout_ms
                using errcode = 'SC001',
                      hint = format('The watch on %s: %s. See sidecar.status.', w.target, sidecar.state_of_watch(w.id));
        end if;
        perform pg_sleep(least(pause_s, greatest(0, extract(epoch from deadline - clock_timestamp()))));
        pause_s := least(pause_s * 1.5, 0.05);
    end loop;
end $$;

create or replace function sidecar.check_not_failed(w sidecar.watches, key jsonb, content_hash bytea) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if content_hash = 'failed' then
        raise exception 'row % of % cannot be embedded: %', key, w.relation,
                coalesce((select f.reason || ': ' || f.message from sidecar.failures f
                          where f.relation = w.relation and f.target = w.target and f.key = check_not_failed.key), 'unknown reason')
            using errcode = 'SC002', hint = 'Mend the row, or: select sidecar.retry(…). See sidecar.failures.';
    end if;
end $$;

-- row_security: where it would hide rows from us, better an error than a policy's function that runs with our rights.
alter function sidecar.status_of(regclass, boolean) security definer set row_security = off;

create or replace function sidecar.install_watch(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    definitions text[] := (sidecar.primary_key_of(w.relation)).definitions;
begin
    perform sidecar.create_queue(w.id, definitions);
    if to_regclass(format('sidecar.ledger_%s', w.id)) is null then
        perform sidecar.create_ledger(w.id, definitions);
    end if;
    perform sidecar.create_trigger_functions(w);
    perform sidecar.own_queue(w.id);
    perform sidecar.grant_queue(w.id, r.role) from sidecar.roles() r where r.kind = 'worker';
    perform sidecar.grant_table(w);
    perform sidecar.create_triggers(w);
    perform sidecar.start_scan(w.id, 'backfill');
    insert into sidecar.progress (watch_id) values (w.id) on conflict do nothing;
    perform pg_notify('sidecar_watches', '');
end $$;

-- What was watched before roles were known.
do $$
begin
    perform sidecar.own_queue(w.id) from sidecar.watches w;
    perform sidecar.create_trigger_functions(w) from sidecar.watches w where w.unwatched_at is null;
exception when insufficient_privilege then
    raise warning 'queues of present watches stay with who made them: %', sqlerrm;
end $$;

revoke all on all functions in schema sidecar from public;
