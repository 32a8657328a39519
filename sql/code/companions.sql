-- Companion tables, which keep vectors apart from the watched table: their view, owner, privileges, and vectors that users
-- delete.

-- The qualified, quoted name of a companion: in the schema of the watched table unless the argument names one. NULL for NULL.
create or replace function sidecar_internal.companion_name(relation regclass, companion text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    parts text[];
begin
    begin
        parts := parse_ident(companion);
    exception when invalid_parameter_value then
        raise exception 'companion % is not the name of a table', quote_literal(companion) using errcode = 'invalid_parameter_value',
            hint = format('Put a name with other characters than letters, digits and _ into double quotes: %L', quote_ident(companion));
    end;
    if cardinality(parts) = 2 and parts[1] <> 'pg_temp' and to_regnamespace(quote_ident(parts[1])) is null then
        raise exception 'schema "%" does not exist', parts[1] using errcode = 'invalid_schema_name',
            hint = 'Create the schema, or name a table in another one.';
    elsif cardinality(parts) > 2 then
        raise exception 'companion % has too many dots', quote_literal(companion) using errcode = 'invalid_name',
            hint = 'Name a table, or schema.table.';
    elsif cardinality(parts) = 1 then
        return (select format('%I.%I', n.nspname, parts[1]) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where c.oid = relation);
    end if;
    return case when companion is not null then format('%I.%I', parts[1], parts[2]) end;
end $$;

-- Creates the companion table: primary key and vector. It has no foreign key to the watched table, which would make users'
-- TRUNCATE and key updates fail.
create or replace function sidecar_internal.create_companion(w sidecar_internal.watches, name text) returns regclass
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    key record := sidecar_internal.primary_key_of(w.relation);
begin
    execute format('create table %s (%s, %I %s(%s) not null, primary key (%s))', name,
        sidecar_internal.for_each_key(key.columns, key.definitions, '%2$I %3$s'), w.target, sidecar_internal.stored_type(w), w.dimensions,
        sidecar_internal.for_each_key(key.columns, null, '%2$I'));
    perform sidecar_internal.check_relation(to_regclass(name));  -- rejects a name in a temporary schema, or in ours
    perform sidecar_internal.grant_like(w.relation, to_regclass(name));
    return to_regclass(name);
end $$;

-- The statement that restores the vector column of a companion. The sidecar never runs it: the table may belong to something
-- else by now.
create or replace function sidecar_internal.lost_target_statement(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('alter table %s add column %I %s(%s)', w.companion, w.target, sidecar_internal.stored_type(w), w.dimensions);
$$;

-- Raises for an existing companion that does not fit. The sidecar inserts and deletes whole rows of it, so it must hold nothing
-- else.
create or replace function sidecar_internal.check_companion(w sidecar_internal.watches) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    key record := sidecar_internal.primary_key_of(w.relation);
    made constant text := 'Name a table that does not exist: it is made.';
    other_column text;
begin
    perform sidecar_internal.check_relation(w.companion);
    perform sidecar_internal.check_owner(w.companion);
    if w.companion = w.relation then
        raise exception 'table % cannot be its own companion', w.relation using errcode = 'invalid_parameter_value', hint = made;
    elsif not exists (select from pg_constraint c where c.conrelid = w.companion and c.contype = 'p')
          or (select (p.columns, p.types) <> (key.columns, key.types) from sidecar_internal.primary_key_of(w.companion) p) then
        raise exception 'companion table % has another primary key than %', w.companion, w.relation
            using errcode = 'invalid_table_definition',
                  hint = format('It needs primary key (%s) with the same types. ', array_to_string(key.columns, ', ')) || made;
    end if;
    perform from pg_attribute a
        where a.attrelid = w.companion and a.attname = w.target and not a.attisdropped and a.attgenerated = ''
          and sidecar_internal.storage_of(w.companion, w.target) = w.storage and a.atttypmod = w.dimensions;
    if not found then
        raise exception 'companion table % has no column % of type %(%)', w.companion, quote_literal(w.target), w.storage, w.dimensions
            using errcode = 'datatype_mismatch',
                  hint = case when sidecar_internal.storage_of(w.companion, w.target) <> w.storage
                              then sidecar_internal.advise_on_storage(w, sidecar_internal.storage_of(w.companion, w.target)) else made end;
    end if;
    select a.attname into other_column from pg_attribute a
        where a.attrelid = w.companion and a.attnum > 0 and not a.attisdropped
          and a.attnotnull and not a.atthasdef and a.attidentity = ''
          and a.attname <> all (w.key_columns || w.target) limit 1;
    if found then
        raise exception 'companion table % has column %, which is NOT NULL and has no default', w.companion, quote_literal(other_column)
            using errcode = 'invalid_table_definition', hint = 'A companion holds the key and the vector. ' || made;
    end if;
end $$;

-- Gives an object that we created the owner of the watched table, and SELECT on it to all roles that have SELECT on that table.
create or replace function sidecar_internal.grant_like(relation regclass, made regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    model record;
    grantee oid;
begin
    select c.relowner::regrole as owner, c.relowner <> m.relowner and has_schema_privilege(c.relowner, m.relnamespace, 'create') as moves,
           c.relrowsecurity and m.relkind <> 'v' as hides into model
        from pg_class c, pg_class m where c.oid = relation and m.oid = made;
    if model.hides then
        raise warning 'table % has row-level security, which % does not have: only its owner may read it', relation, made
            using hint = 'Grant SELECT on it yourself, after a policy of its own.';
    else
        for grantee in select a.grantee from pg_class c cross join aclexplode(c.relacl) a
                       where c.oid = relation and a.privilege_type = 'SELECT' and a.grantee <> c.relowner loop
            execute format('grant select on %s to %s', made, case grantee when 0 then 'public' else grantee::regrole::text end);
        end loop;
    end if;
    if model.moves then
        execute format('alter table %s owner to %s', made, model.owner);
    end if;
end $$;

-- Creates the view beside a companion: key, source and vector of the rows that exist. It names only the watched columns, so
-- that changes of other columns do not depend on it, and is a security_invoker view, so it shows nobody what they could not
-- read without it.
create or replace function sidecar_internal.create_companion_view(w sidecar_internal.watches) returns regclass
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    class record;
    name text;
    columns text;
    description constant text := format('Rows of %s and their vectors. Kept by the sidecar.', w.relation);
begin
    select n.nspname, c.relname into class from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.companion;
    while octet_length(class.relname || '_view') > 63 loop
        class.relname := left(class.relname, -1);
    end loop;
    name := format('%I.%I', class.nspname, class.relname || '_view');
    w.companion_view := to_regclass(name);
    if obj_description(w.companion_view, 'pg_class') = description and sidecar_internal.has_view(w)
            and (select pg_has_role(c.relowner, 'usage') from pg_class c where c.oid = w.companion_view) then
        execute format('drop view %s', name); -- created for a watch whose row was not restored
    elsif w.companion_view is not null then
        raise warning 'the view of companion % was not created: the name % is taken', w.companion, name
            using hint = 'Nothing depends on it: join the two tables yourself, as the query in sidecar.status does.';
        return null;
    end if;
    select string_agg(format('t.%I', u.c), ', ' order by u.n) into columns
        from unnest(w.key_columns || w.source) with ordinality as u(c, n)
        where u.n <= cardinality(w.key_columns) or u.c <> all (w.key_columns);
    execute format('create view %s with (security_invoker = true) as select %s, e.%I from %s t join %s e on %s', name, columns, w.target,
                   w.relation, w.companion, sidecar_internal.for_each_key(w.key_columns, null, 't.%2$I = e.%2$I', ' and '));
    execute format('comment on view %s is %L', name, description);
    perform sidecar_internal.grant_like(w.relation, to_regclass(name));
    return to_regclass(name);
end $$;

-- Trigger function of 0016 for vectors that a user deletes from a companion, for a trigger that could not be replaced yet.
-- Enqueues the keys in the transition table, which holds whole rows.
create or replace function sidecar_internal.enqueue_lost_vectors() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches;
begin
    select * into w from sidecar_internal.watches x where x.id = tg_argv[0]::integer and x.companion = tg_relid and x.unwatched_at is null;
    if found then
        execute format('insert into sidecar_internal.events_%s (%s) select %s from lost_rows r where %s', w.id,
                       sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'),
                       sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.companion, 'r'), '%3$s'), sidecar_internal.keys_fit(w, 'r'));
        perform sidecar_internal.wake_sleepers(w.id);
    end if;
    return null;
exception when others then
    perform sidecar_internal.report_breakage(w.id, sqlstate, sqlerrm);
    return null;
end $$;

-- Trigger function for a TRUNCATE of a companion. Enqueues one event without a key, however many vectors there were; `force`
-- tells it from a TRUNCATE of the watched table.
create or replace function sidecar_internal.enqueue_emptied_companion() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches;
begin
    select * into w from sidecar_internal.watches x where x.id = tg_argv[0]::integer and x.companion = tg_relid and x.unwatched_at is null;
    if found then
        execute format('insert into sidecar_internal.events_%s (force) values (true)', w.id);
        perform sidecar_internal.wake_sleepers(w.id);
    end if;
    return null;
exception when others then
    perform sidecar_internal.report_breakage(w.id, sqlstate, sqlerrm);
    return null;
end $$;

-- Creates the triggers that enqueue vectors which a user deletes from a companion, or empties it of: they are embedded again.
-- Locks the companion SHARE ROW EXCLUSIVE.
create or replace function sidecar_internal.create_deletion_trigger(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if not sidecar_internal.sees_truncate(w) then
        execute format('create trigger sidecar_%1$s_rows_emptied after truncate on %2$s for each statement '
                       'when (current_setting(''sidecar.writer'', true) is distinct from ''on'') '
                       'execute function sidecar_internal.enqueue_emptied_companion(%1$s)', w.id, w.companion);
    end if;
    if not exists (select from pg_trigger t where t.tgrelid = w.companion and t.tgname = format('sidecar_%s_row_deleted', w.id)
                   and t.tgtype & 1 = 1) then
        execute format('create or replace trigger sidecar_%1$s_row_deleted after delete on %2$s for each row '
                       'when (current_setting(''sidecar.writer'', true) is distinct from ''on'') '
                       'execute function sidecar_internal.enqueue_%1$s_row()', w.id, w.companion);
    end if;
end $$;

-- True if the companion has the trigger for TRUNCATE.
create or replace function sidecar_internal.sees_truncate(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_trigger t where t.tgrelid = w.companion and t.tgname = format('sidecar_%s_rows_emptied', w.id));
$$;

-- Creates what belongs to a companion beside its column, triggers and view, where it is missing.
create or replace function sidecar_internal.sync_companion(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    made regclass;
begin
    if w.companion is null then
        return;
    end if;
    perform sidecar_internal.create_deletion_trigger(w);
    if not sidecar_internal.has_view(w) then
        made := sidecar_internal.create_companion_view(w);
        update sidecar_internal.watches x set companion_view = made where x.id = w.id and x.companion_view is distinct from made;
        if made is not null then
            raise notice '% joins % and its vectors', made, w.relation;
        end if;
    end if;
end $$;

-- True if the recorded view is the one that joins the watched table and its companion. A dump keeps the OID of a view that was
-- dropped, and after a restore another relation may have that OID.
create or replace function sidecar_internal.has_view(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_rewrite r
                   join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
                   where r.ev_class = w.companion_view and d.refobjid in (w.relation, w.companion)
                   having count(distinct d.refobjid) = 2);
$$;

-- Drops triggers and view of a companion when the watch ends: the view would block changes of the watched columns.
create or replace function sidecar_internal.release_companion(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
begin
    if exists (select from pg_class c where c.oid = w.companion) then
        execute format('drop trigger if exists sidecar_%1$s_row_deleted on %2$s; '
                       'drop trigger if exists sidecar_%1$s_rows_emptied on %2$s', w.id, w.companion);
    end if;
    if sidecar_internal.has_view(w) then
        begin
            execute format('drop view %s', w.companion_view);
            update sidecar_internal.watches x set companion_view = null where x.id = w.id;
        exception when dependent_objects_still_exist then
            raise warning 'view % stays: %', w.companion_view, sqlerrm using hint = 'Drop what depends on it, then the view.';
        end;
    end if;
end $$;
