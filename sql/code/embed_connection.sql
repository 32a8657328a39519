-- The connection over which sidecar.embed, as a function, asks within a statement: the request has to be committed before a
-- sidecar sees it, and a function cannot commit. dblink opens it to a login role that may do nothing but ask, and keeps it for the
-- rest of the session.

-- The role that the connection logs in as. Roles belong to the whole server, so it is named after the database.
create or replace function sidecar_internal.embed_role() returns name
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('sidecar_embed_%s', d.oid)::name from pg_database d where d.datname = current_database();
$$;

-- True if the connection leads to this database. A copy of a database, restored or made with it as template, has the server of the
-- original, whose sidecars would get its requests; one that was renamed has its role, one restored elsewhere its name.
create or replace function sidecar_internal.is_embed_enabled() returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_foreign_server s join pg_user_mappings m on m.srvid = s.oid
                   where s.srvname = 'sidecar_embed'
                     and (concat('user=', sidecar_internal.embed_role()) = any (m.umoptions) or concat('dbname=', current_database()) = any (s.srvoptions)));
$$;

-- The vector from the cache, or over the session's connection. With the installer's rights: only it may use the connection.
create or replace function sidecar_internal.embed_in_statement(fingerprint text, kind text, content bytea, timeout_ms integer) returns vector
language plpgsql stable parallel restricted security definer set search_path = pg_catalog, pg_temp as $$
declare
    answer real[];
begin
    if content is null then
        return null;
    elsif not pg_is_in_recovery() then -- a standby has no unlogged tables
        select q.vector into answer from sidecar_internal.query_vectors q
            where q.fingerprint = embed_in_statement.fingerprint and q.kind = embed_in_statement.kind and q.digest = sha256(embed_in_statement.content)
              and q.vector is not null and q.used_at > clock_timestamp() - interval '1 hour';
    end if;
    return coalesce(answer, sidecar_internal.embed_over_connection(fingerprint, kind, content, timeout_ms));
end $$;

-- An entry not used for an hour is requested over the connection, which records its use: so the least
-- recently used are the first to be deleted. A lost connection, or one with the request of a cancelled statement, is replaced.
-- Not by dblink(): cancelled, or after statement_timeout, it would wait for the answer all the same.
create or replace function sidecar_internal.embed_over_connection(fingerprint text, kind text, content bytea, timeout_ms integer) returns real[]
language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
    ext constant text := sidecar_internal.dblink_schema();
    request constant text := format('call sidecar_internal.embed_content(%L, %L, %L, %L, null)', fingerprint, kind, content, timeout_ms);
    began constant timestamptz := clock_timestamp();
    is_open boolean;
    is_sent boolean;
    is_busy boolean;
    answer real[];
begin
    if ext is null or not sidecar_internal.is_embed_enabled() then
        raise exception 'sidecar.embed cannot ask within a statement yet' using errcode = 'object_not_in_prerequisite_state',
            hint = 'Let the owner of schema sidecar run once: call sidecar.enable_embed(); or ask beforehand: call sidecar.embed(content, target => ..., vector => null);';
    end if;
    for attempt in 1 .. 2 loop
        begin
            execute format('select coalesce(%2$L = any (%1$s.dblink_get_connections()), false)', ext, 'sidecar_embed') into is_open;
            if not is_open then
                execute format('select %1$s.dblink_connect(%2$L, %2$L)', ext, 'sidecar_embed');
            end if;
            execute format('select %1$s.dblink_send_query(%2$L, $1) = 1', ext, 'sidecar_embed') into is_sent using request;
            if not is_sent then
                raise exception 'the connection of sidecar.embed is lost' using errcode = 'connection_failure';
            end if;
            loop
                execute format('select %1$s.dblink_is_busy(%2$L) = 1', ext, 'sidecar_embed') into is_busy;
                exit when not is_busy;
                perform pg_sleep(least(greatest(0.0005, extract(epoch from clock_timestamp() - began) / 20), 0.05));
            end loop;
            execute format('select r.answer from %1$s.dblink_get_result(%2$L) as r(answer real[])', ext, 'sidecar_embed') into answer;
            execute format('select from %1$s.dblink_get_result(%2$L) as r(answer real[])', ext, 'sidecar_embed'); -- its end
            return answer;
        exception when others then
            execute format('select %1$s.dblink_disconnect(%2$L) from (select unnest(%1$s.dblink_get_connections()) as name) c where c.name = %2$L', ext, 'sidecar_embed');
            if attempt = 2 or not (sqlstate like '08%' or sqlstate in ('57P01', '57P02', '57P05')) then
                raise;
            end if;
        end;
    end loop;
end $$;

-- The schema of dblink, quoted; NULL if it is not installed.
create or replace function sidecar_internal.dblink_schema() returns text
language sql stable parallel safe set search_path = pg_catalog, pg_temp as $$
    select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'dblink';
$$;

-- Why the connection cannot be opened; NULL if it can, and where sidecar.enable_embed was not called.
create or replace function sidecar_internal.embed_connection_fault() returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    ext constant text := sidecar_internal.dblink_schema();
    cause text;
begin
    if not exists (select from pg_foreign_server s where s.srvname = 'sidecar_embed') then
        return null;
    elsif ext is null then
        return 'extension dblink is missing';
    elsif not sidecar_internal.is_embed_enabled() then
        return 'it leads to the database that this one is a copy of';
    end if;
    execute format('select from %s.dblink(%L, %L) as r(ok integer)', ext, 'sidecar_embed', 'select 1');
    return null;
exception when others then
    get stacked diagnostics cause = pg_exception_detail;
    return concat_ws(': ', sqlerrm, nullif(cause, ''));
end $$;

-- Creates the role of the connection with a new password, which it returns, and dblink.
create or replace function sidecar_internal.prepare_embed_role() returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    role constant name := sidecar_internal.embed_role();
    password constant text := replace(concat(gen_random_uuid(), gen_random_uuid()), '-', '');
    routine regprocedure;
    setting text;
begin
    if not pg_has_role(sidecar_internal.installer()::oid, 'usage') then
        raise exception 'only the owner of schema sidecar can enable sidecar.embed' using errcode = 'insufficient_privilege',
            hint = format('Connect as %s, or as a superuser.', sidecar_internal.installer());
    end if;
    if sidecar_internal.dblink_schema() is null then
        execute format('create extension dblink schema %I', sidecar_internal.vector_schema());
    end if;
    -- A role that is new has no attribute that it should not have, and only a superuser may alter these.
    execute format('%s role %I login password %L',
                   case when exists (select from pg_roles r where r.rolname = role) then 'alter' else 'create' end, role, password);
    foreach setting in array array['search_path = pg_catalog, pg_temp', 'default_transaction_isolation = ''read committed''',
                                   'default_transaction_read_only = off', 'statement_timeout = 0', 'lock_timeout = 0'] loop
        execute format('alter role %I in database %I set %s', role, current_database(), setting);
    end loop;
    execute format('grant connect on database %I to %I', current_database(), role);
    execute format('grant usage on schema sidecar_internal to %I', role);
    for routine in select p.oid from pg_proc p where p.pronamespace = 'sidecar_internal'::regnamespace
                   and p.proname in ('embed_content', 'request_vector', 'read_answer') loop
        execute format('grant execute on routine %s to %I', routine, role);
    end loop;
    return password;
end $$;

-- Sets where the connection leads. `address` is in the form of libpq: 'host=db port=5432'.
create or replace function sidecar_internal.set_embed_server(address text, password text) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
    options text;
begin
    select string_agg(format('%I %L', o.name, o.value), ', ') into options
        from (select m.parts[1], m.parts[2] from regexp_matches(address, '(\w+)\s*=\s*(\S+)', 'g') as m(parts)
              union all select 'dbname', current_database() where address !~ '\mdbname\s*=') o(name, value);
    drop server if exists sidecar_embed cascade;
    execute format('create server sidecar_embed foreign data wrapper dblink_fdw options (%s)', options);
    execute format('grant usage on foreign server sidecar_embed to %s', sidecar_internal.installer());
    execute format('create user mapping for %s server sidecar_embed options ("user" %L, password %L)', sidecar_internal.installer(),
                   sidecar_internal.embed_role(), password);
end $$;

-- Where this server can be reached from itself, best first. Only some roles may see where its socket is.
create or replace function sidecar_internal.own_addresses() returns setof text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('host=%s port=%s', a.host, current_setting('port'))
    from (values (1, (select nullif(trim(split_part(s.setting, ',', 1)), '') from pg_settings s where s.name = 'unix_socket_directories')),
                 (2, 'localhost'), (3, host(inet_server_addr()))) a(n, host)
    where a.host is not null and a.host !~ '\s' order by a.n;
$$;

-- Sets up what sidecar.embed needs within a statement: dblink, a login role that may only ask, a foreign server and a user mapping
-- of the installer's. Repeated, it makes a new password. Commits, because the connection is tried.
create or replace procedure sidecar.enable_embed(server text default null)
language plpgsql as $$
declare
    password constant text := sidecar_internal.prepare_embed_role();
    address text;
    fault text;
    faults text;
begin
    for address in select a.own from (select server as own where server is not null
                                      union all select o.own from sidecar_internal.own_addresses() o(own) where server is null) a loop
        perform sidecar_internal.set_embed_server(address, password);
        commit;
        fault := sidecar_internal.embed_connection_fault();
        if fault is null then
            return;
        end if;
        faults := pg_catalog.concat_ws('; ', faults, pg_catalog.concat(address, ': ', fault));
    end loop;
    raise exception 'the server does not reach itself: %', faults using errcode = 'SC004',
        hint = 'Name an address at which it takes passwords: call sidecar.enable_embed(server => ''host=127.0.0.1 port=5432'');';
end $$;
comment on procedure sidecar.enable_embed is
    'Lets sidecar.embed work within a statement, for all sessions: sets up dblink to this server, or to the one named as '
    '''host=primary port=5432'', with a role that may only ask for vectors. Run it once, as the owner of schema sidecar.';

-- The opposite of enable_embed. dblink stays.
create or replace function sidecar.disable_embed() returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
    role constant name := sidecar_internal.embed_role();
begin
    drop server if exists sidecar_embed cascade;
    if exists (select from pg_roles r where r.rolname = role) then
        -- Not by DROP OWNED: who may create roles has not their rights.
        if exists (select from pg_database d cross join aclexplode(d.datacl) a where d.datname = current_database() and a.grantee = role::regrole) then
            execute format('revoke connect on database %I from %I', current_database(), role);
        end if;
        execute format('revoke all on all routines in schema sidecar_internal from %I', role);
        execute format('revoke all on schema sidecar_internal from %I', role);
        execute format('drop role %I', role);
    end if;
end $$;
comment on function sidecar.disable_embed is
    'Removes what sidecar.enable_embed has set up: the server, its user mapping and the role. The extension dblink stays.';
