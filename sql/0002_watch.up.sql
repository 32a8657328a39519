-- sidecar.watch and sidecar.unwatch: checks, per-watch tables, triggers.
--
-- Per-watch objects are made with format(): %I and %s of names that Postgres itself quoted (regclass, format_type).
-- Key columns are called k1, k2 … in our tables, so that no name of the user's can clash with ours.

-- The schema that pgvector lives in. Raises where it is missing or older than the halfvec index casts we rely on.
create function sidecar.vector_schema() returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    found_schema text;
    found_version text;
begin
    select n.nspname, e.extversion into found_schema, found_version
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector';
    if found_schema is null then
        raise exception 'the pgvector extension is not installed in database "%"', current_database()
            using errcode = 'undefined_object', hint = 'Run: create extension vector;';
    end if;
    if string_to_array(split_part(found_version, '-', 1), '.')::int[] < array[0, 8, 0] then
        raise exception 'pgvector % is too old: 0.8.0 or newer is needed', found_version
            using errcode = 'feature_not_supported', hint = 'Install a newer pgvector, then: alter extension vector update;';
    end if;
    return found_schema;
end $$;

-- Refuses what cannot be watched.
create function sidecar.check_relation(relation regclass) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    class record;
begin
    select c.relkind, c.relpersistence, n.nspname into class
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation;
    if class.relkind not in ('r', 'p') then
        raise exception '% is not a table', relation
            using errcode = 'wrong_object_type', hint = 'Only tables can be watched: watch the table behind a view.';
    elsif class.relpersistence = 't' then
        raise exception '% is a temporary table, which no other session can read', relation
            using errcode = 'wrong_object_type', hint = 'Watch a permanent table.';
    elsif class.nspname = 'sidecar' or class.nspname = 'pg_catalog' then
        raise exception '% belongs to schema "%"', relation, class.nspname
            using errcode = 'wrong_object_type', hint = 'Watch a table of your own.';
    elsif exists (select from pg_inherits i join pg_class p on p.oid = i.inhparent
                  where (i.inhparent = relation and p.relkind = 'r') or (i.inhrelid = relation and p.relkind = 'r')) then
        raise exception '% takes part in table inheritance, where a primary key does not cover the children', relation
            using errcode = 'wrong_object_type', hint = 'Use declarative partitioning, or watch a table of its own.';
    end if;
end $$;

-- Names and types of the primary key, in key order. `types` carries the collation where it is not the type's own.
create function sidecar.primary_key_of(relation regclass, out columns text[], out types text[], out definitions text[])
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    select array_agg(a.attname::text order by k.position),
           array_agg(format_type(a.atttypid, a.atttypmod) order by k.position),
           array_agg(format_type(a.atttypid, a.atttypmod)
                     || case when a.attcollation <> 0 and a.attcollation <> t.typcollation
                        then format(' collate %I.%I', cn.nspname, co.collname) else '' end order by k.position)
        into columns, types, definitions
        from pg_constraint c
        cross join unnest(c.conkey) with ordinality as k(attnum, position)
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
        join pg_type t on t.oid = a.atttypid
        left join pg_collation co on co.oid = a.attcollation
        left join pg_namespace cn on cn.oid = co.collnamespace
        where c.conrelid = relation and c.contype = 'p';
    if columns is null then
        raise exception 'table % has no primary key', relation
            using errcode = 'invalid_table_definition',
                  hint = format('The sidecar tells rows apart by their primary key. Add one, for example: '
                                'alter table %s add column id bigint generated always as identity primary key;', relation);
    end if;
end $$;

-- The kind of a source: 'text' or 'image', from the columns' types; an explicit kind must agree with them.
create function sidecar.kind_of_source(relation regclass, source text[], kind text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    name text;
    base regtype;
    column_kind text;
    kinds text[] := '{}';
begin
    if kind_of_source.source is null or cardinality(kind_of_source.source) = 0
       or array_position(kind_of_source.source, null) is not null then
        raise exception 'source names no column' using errcode = 'invalid_parameter_value',
            hint = 'Say for example: source => ''photo'', or source => array[''title'', ''brand''].';
    end if;
    if kind_of_source.kind is not null and kind_of_source.kind not in ('text', 'image') then
        raise exception 'kind is %, which is not known', quote_literal(kind_of_source.kind)
            using errcode = 'invalid_parameter_value', hint = 'kind is ''text'' or ''image'', or left out.';
    end if;
    foreach name in array kind_of_source.source loop
        select coalesce(nullif(t.typbasetype, 0), t.oid)::regtype into base
            from pg_attribute a join pg_type t on t.oid = a.atttypid
            where a.attrelid = relation and a.attname = name and a.attnum > 0 and not a.attisdropped;
        if not found then
            raise exception 'table % has no column %', relation, quote_literal(name)
                using errcode = 'undefined_column', hint = 'Column names are case-sensitive here: give them as \d shows them.';
        end if;
        column_kind := case when base = 'bytea'::regtype then 'image'
                      when exists (select from pg_type t where t.oid = base and t.typcategory = 'S') then 'text' end;
        if column_kind is null then
            raise exception 'column %.% has type %, which holds neither text nor pictures', relation, quote_ident(name), base
                using errcode = 'datatype_mismatch', hint = 'A source is a text column, or a bytea column that holds picture files.';
        end if;
        kinds := kinds || column_kind;
    end loop;
    if cardinality(kinds) > 1 and 'image' = any (kinds) then
        raise exception 'source % mixes pictures with other columns', kind_of_source.source
            using errcode = 'datatype_mismatch', hint = 'Several source columns are joined as text. Watch each bytea column by itself.';
    end if;
    if kind_of_source.kind is distinct from kinds[1] and kind_of_source.kind is not null then
        raise exception 'kind is %, but source % holds %', quote_literal(kind_of_source.kind),
            kind_of_source.source, case kinds[1] when 'image' then 'bytea (pictures)' else 'text' end
            using errcode = 'datatype_mismatch', hint = format('Leave kind out, or say kind => %L.', kinds[1]);
    end if;
    return kinds[1];
end $$;

-- Adds the vector column where it is missing; refuses one that does not fit.
create function sidecar.prepare_target(home regclass, target text, dimensions integer, source text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    vector_type text := format('%I.vector(%s)', sidecar.vector_schema(), dimensions);
    existing record;
begin
    select format_type(a.atttypid, a.atttypmod) as type, a.attnotnull, a.attgenerated, a.attidentity, a.atttypid, a.atttypmod,
           exists (select from pg_index i where i.indrelid = home and i.indisprimary and a.attnum = any (i.indkey)) as in_key
        into existing
        from pg_attribute a where a.attrelid = home and a.attname = prepare_target.target and a.attnum > 0 and not a.attisdropped;
    if not found then
        execute format('alter table %s add column %I %s', home, target, vector_type);
        return;
    end if;
    if target = any (prepare_target.source) then
        raise exception 'target and source are both %', quote_literal(target)
            using errcode = 'invalid_parameter_value', hint = 'Name a column of its own for the vector.';
    elsif existing.atttypid <> format('%I.vector', sidecar.vector_schema())::regtype then
        raise exception 'column %.% has type %, not vector(%)', home, quote_ident(target), existing.type, dimensions
            using errcode = 'datatype_mismatch', hint = 'Name another target: a missing column is added with the right type.';
    elsif existing.atttypmod not in (dimensions, -1) then
        raise exception 'column %.% is %, but the watch asks for % dimensions', home, quote_ident(target), existing.type, dimensions
            using errcode = 'datatype_mismatch', hint = format('Say dimensions => %s, or name another target.', existing.atttypmod);
    elsif existing.in_key or existing.attgenerated <> '' then
        raise exception 'column %.% is part of the key or generated, so it cannot hold the vector', home, quote_ident(target)
            using errcode = 'invalid_table_definition', hint = 'Name another target: a missing column is added.';
    elsif existing.attnotnull then
        raise exception 'column %.% is NOT NULL, but a new row has no vector yet', home, quote_ident(target)
            using errcode = 'invalid_table_definition',
                  hint = format('Run: alter table %s alter column %I drop not null;', home, target);
    end if;
end $$;

-- The companion table: its name parsed (in the watched table's schema unless qualified), made if missing, checked if not.
create function sidecar.prepare_companion(relation regclass, companion text, target text, dimensions integer) returns regclass
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    parts text[] := parse_ident(companion);
    home text;
    key record;
    existing regclass;
    vector_type text := format('%I.vector(%s)', sidecar.vector_schema(), dimensions);
begin
    if cardinality(parts) > 2 then
        raise exception 'companion => % has too many dots', quote_literal(companion) using errcode = 'invalid_name',
            hint = 'Name a table, or schema.table.';
    elsif cardinality(parts) = 1 then
        parts := array[(select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation)::text] || parts;
    end if;
    home := format('%I.%I', parts[1], parts[2]);
    key := sidecar.primary_key_of(relation);
    existing := to_regclass(home);
    if existing is null then
        execute format('create table %s (%s, %I %s not null, primary key (%s))', home,
            (select string_agg(format('%I %s', key.columns[i], key.definitions[i]), ', ' order by i) from generate_subscripts(key.columns, 1) i),
            target, vector_type,
            (select string_agg(quote_ident(c), ', ' order by i) from unnest(key.columns) with ordinality as u(c, i)));
        return to_regclass(home);
    end if;
    if (select row(p.columns, p.types) from sidecar.primary_key_of(existing) p) is distinct from row(key.columns, key.types) then
        raise exception 'companion table % has another primary key than %', existing, relation
            using errcode = 'invalid_table_definition',
                  hint = format('It needs primary key (%s) with the same types. Name a table that does not exist: it is made.',
                                array_to_string(key.columns, ', '));
    end if;
    perform from pg_attribute a where a.attrelid = existing and a.attname = target and not a.attisdropped
        and a.atttypid = format('%I.vector', sidecar.vector_schema())::regtype and a.atttypmod = dimensions;
    if not found then
        raise exception 'companion table % has no column % of type vector(%)', prepare_companion.companion, quote_literal(target), dimensions
            using errcode = 'datatype_mismatch', hint = 'Name a table that does not exist: it is made.';
    end if;
    return to_regclass(home);
end $$;

-- events_N, delayed_N, ledger_N. The ledger is kept from an earlier watch of the same table and target where its key fits.
create function sidecar.create_watch_tables(watch_id integer, key_definitions text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    keys text := (select string_agg(format('k%s %s', i, key_definitions[i]), ', ' order by i) from generate_subscripts(key_definitions, 1) i);
    key_names text := (select string_agg(format('k%s', i), ', ' order by i) from generate_subscripts(key_definitions, 1) i);
begin
    -- "Bring this key up to date." Append-only, duplicates are fine; a NULL key is a TRUNCATE. The small fillfactor keeps
    -- leases HOT. The partial index holds the backfill's few outstanding events, so that its share of the claims need
    -- not be looked for behind a large live backlog.
    execute format($sql$
        create table sidecar.events_%1$s (
            gen bigint primary key default nextval('sidecar.generation'),
            %2$s,
            enqueued_at timestamptz not null default clock_timestamp(),
            backfill boolean not null default false,
            force boolean not null default false,
            lease_until timestamptz,
            lease_token uuid,
            attempts smallint not null default 0 check (attempts >= 0),
            check ((lease_until is null) = (lease_token is null))
        ) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
                autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
                autovacuum_vacuum_cost_delay = 0);
        create index events_%1$s_backfill on sidecar.events_%1$s (gen) where backfill;
        create table sidecar.delayed_%1$s (
            gen bigint primary key,
            %2$s,
            enqueued_at timestamptz not null,
            backfill boolean not null,
            force boolean not null,
            attempts smallint not null,
            run_at timestamptz not null
        );
        create index delayed_%1$s_run_at on sidecar.delayed_%1$s (run_at);
    $sql$, watch_id, keys);
    -- What the stored vector was made of. `content_hash` NULL is a tombstone: the row is gone, but a slower sidecar may
    -- still hold an older event of it. The partial index counts and finds the exceptions; ordinary rows are not in it.
    execute format($sql$
        create table if not exists sidecar.ledger_%1$s (
            %2$s,
            gen bigint not null,
            content_hash bytea check (octet_length(content_hash) = 32 or content_hash in ('empty', 'failed')),
            vector_digest bytea check (octet_length(vector_digest) = 32),
            truncated boolean not null default false,
            embedded_at timestamptz not null default clock_timestamp(),
            primary key (%3$s),
            check ((vector_digest is null) = (content_hash is null or octet_length(content_hash) < 32))
        ) with (fillfactor = 80);
        create index if not exists ledger_%1$s_exceptions on sidecar.ledger_%1$s (gen)
            where truncated or content_hash is null or octet_length(content_hash) < 32;
    $sql$, watch_id, keys, key_names);
end $$;

-- Appends to breakages once per watch and code. Called inside triggers: must not raise.
create function sidecar.report_breakage(watch_id integer, code text, message text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    raise warning 'sidecar: watch % could not record a change (%): %', watch_id, code, message
        using hint = 'Rows may go without a fresh vector until the watch is mended: see sidecar.status.';
    if not exists (select from sidecar.breakages b where b.watch_id = report_breakage.watch_id and b.code = report_breakage.code) then
        insert into sidecar.breakages (watch_id, code, message) values (watch_id, code, message);
    end if;
exception when others then
    raise warning 'sidecar: watch % could not report its fault: %', watch_id, sqlerrm;
end $$;

-- Wakes the sidecars, if one sleeps. A NOTIFY makes its commit take a lock that the whole cluster shares: 16 clients
-- inserted 3,200 rows/s with it and 12,800 without, so it is sent only where somebody waits for it.
create function sidecar.wake_sleepers() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from sidecar.wake where asleep_until > clock_timestamp()) then
        perform pg_notify('sidecar', '');
    end if;
end $$;

-- The trigger functions of one watch. They run with the rights of their owner, never raise, and name the user's columns
-- only in an inner block without writes, because a renamed key column must not fail the user's statement, and because a
-- block that writes would cost a subtransaction id for every row.
create function sidecar.create_trigger_functions(watch_id integer) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
    k text;            -- k1, k2
    new_list text;     -- n.id, n.region
    old_list text;
    set_new text;      -- n1 := new.id; n2 := new.region;
    set_old text;
    n_vars text;       -- n1, n2
    o_vars text;
    declarations text;
    key_changed text;
begin
    select * into strict w from sidecar.watches where id = watch_id;
    select string_agg('k' || i, ', ' order by i),
           string_agg(format('r.%I', c), ', ' order by i),
           string_agg(format('n%s := new.%I;', i, c), ' ' order by i),
           string_agg(format('o%s := old.%I;', i, c), ' ' order by i),
           string_agg('n' || i, ', ' order by i), string_agg('o' || i, ', ' order by i),
           string_agg(format('n%1$s %2$s; o%1$s %2$s;', i, w.key_types[i]), ' ' order by i),
           string_agg(format('n%1$s::text is distinct from o%1$s::text', i), ' or ' order by i)
        into k, new_list, set_new, set_old, n_vars, o_vars, declarations, key_changed
        from unnest(w.key_columns) with ordinality as u(c, i);

    execute format($outer$
        create or replace function sidecar.enqueue_%1$s_statement() returns trigger
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
        begin
            if tg_op = 'TRUNCATE' then
                insert into sidecar.events_%1$s default values;
            else
                insert into sidecar.events_%1$s (%2$s) select %3$s from changed_rows r;
            end if;
            perform sidecar.wake_sleepers();
            return null;
        exception when others then
            perform sidecar.report_breakage(%1$s, sqlstate, sqlerrm);
            return null;
        end $f$;
    $outer$, watch_id, k, new_list);

    execute format($outer$
        create or replace function sidecar.enqueue_%1$s_row() returns trigger
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
        declare
            %3$s
        begin
            begin
                if tg_op <> 'DELETE' then %4$s end if;
                if tg_op <> 'INSERT' then %5$s end if;
            exception when others then
                perform sidecar.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op <> 'DELETE' then
                insert into sidecar.events_%1$s (%2$s, force) values (%6$s, tg_nargs > 0);
            end if;
            if tg_op = 'DELETE' or (tg_op = 'UPDATE' and (%8$s)) then
                insert into sidecar.events_%1$s (%2$s) values (%7$s);
            end if;
            perform sidecar.wake_sleepers();
            return null;
        end $f$;
    $outer$, watch_id, k, declarations, set_new, set_old, n_vars, o_vars, key_changed);

    execute format('revoke all on function sidecar.enqueue_%1$s_statement(), sidecar.enqueue_%1$s_row() from public', watch_id);
end $$;

create function sidecar.drop_triggers(watch_id integer, relation regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
    suffix text;
begin
    foreach suffix in array array['insert', 'update', 'delete', 'truncate', 'target'] loop
        execute format('drop trigger if exists sidecar_%s_%s on %s', watch_id, suffix, relation);
    end loop;
end $$;

-- INSERT and DELETE fire once per statement (measured: 3–5.5 µs a row of a bulk insert; a row trigger 13 µs). UPDATE fires
-- per row and only where source or key differ: transition tables cannot be had with a column list. Partitioned tables get
-- row triggers throughout, which Postgres copies to every partition: statement triggers miss writes straight into a leaf.
create function sidecar.create_triggers(watch_id integer) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
    partitioned boolean;
    before_row boolean;
    watched text[];
    changed text;
    of_columns text;
    ext text := sidecar.vector_schema();
begin
    select * into strict w from sidecar.watches where id = watch_id;
    select c.relkind = 'p' into partitioned from pg_class c where c.oid = w.relation;
    -- A BEFORE ROW trigger may change the source in an UPDATE that does not name it, so UPDATE OF would miss it.
    before_row := exists (select from pg_trigger t where t.tgrelid = w.relation and not t.tgisinternal
                          and t.tgtype & 1 = 1 and t.tgtype & 2 = 2 and t.tgtype & 16 = 16);
    watched := w.source || w.key_columns;
    -- A generated column is computed from others: naming it in UPDATE OF would not fire for them.
    before_row := before_row or exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = any (watched) and a.attgenerated <> '');
    of_columns := case when before_row then '' else
        ' of ' || (select string_agg(distinct quote_ident(c), ', ') from unnest(watched) c) end;
    select string_agg(case when w.kind = 'image' and c = any (w.source)
                           then format('old.%1$I is distinct from new.%1$I', c)
                           else format('old.%1$I::text collate "C" is distinct from new.%1$I::text collate "C"', c) end, ' or ')
        into changed from (select distinct c from unnest(watched) c) as d;

    if partitioned then
        execute format('create trigger sidecar_%1$s_insert after insert on %2$s for each row execute function sidecar.enqueue_%1$s_row()', w.id, w.relation);
        execute format('create trigger sidecar_%1$s_delete after delete on %2$s for each row execute function sidecar.enqueue_%1$s_row()', w.id, w.relation);
    else
        execute format('create trigger sidecar_%1$s_insert after insert on %2$s referencing new table as changed_rows '
                       'for each statement execute function sidecar.enqueue_%1$s_statement()', w.id, w.relation);
        execute format('create trigger sidecar_%1$s_delete after delete on %2$s referencing old table as changed_rows '
                       'for each statement execute function sidecar.enqueue_%1$s_statement()', w.id, w.relation);
    end if;
    execute format('create trigger sidecar_%1$s_update after update%3$s on %2$s for each row when (%4$s) execute function sidecar.enqueue_%1$s_row()',
                   w.id, w.relation, of_columns, changed);
    execute format('create trigger sidecar_%1$s_truncate after truncate on %2$s for each statement execute function sidecar.enqueue_%1$s_statement()',
                   w.id, w.relation);
    -- Somebody else wrote the vector: an ORM that saves whole rows puts an old one back. `force`: never skipped.
    -- Without OF where BEFORE ROW triggers may change it unseen.
    execute format($sql$
        create trigger sidecar_%1$s_target after %3$s on %2$s for each row when (
            current_setting('sidecar.writer', true) is distinct from 'on' and %4$s)
            execute function sidecar.enqueue_%1$s_row('force')
    $sql$, w.id, coalesce(w.companion, w.relation),
        case when before_row and w.companion is null then 'update' else format('update of %I', w.target) end,
        format('case when old.%1$I is null or new.%1$I is null then (old.%1$I is null) <> (new.%1$I is null) '
               'else old.%1$I operator(%2$I.<>) new.%1$I end', w.target, ext));
end $$;

-- Starts a scan from the first key, whatever became of an earlier one.
create function sidecar.start_scan(watch_id integer, purpose text, force boolean default false) returns void
language sql set search_path = pg_catalog, pg_temp as $$
    insert into sidecar.scans (watch_id, purpose, force) values (watch_id, purpose, force)
    on conflict (watch_id, purpose) do update
        set last_key = null, force = excluded.force or (scans.force and scans.finished_at is null),
            started_at = now(), finished_at = null;
$$;

-- Tables, functions, triggers and the backfill of a watch whose row is in place.
create function sidecar.install_watch(watch_id integer, key_definitions text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
begin
    select * into strict w from sidecar.watches where id = watch_id;
    if to_regclass(format('sidecar.events_%s', watch_id)) is null then
        perform sidecar.create_watch_tables(watch_id, key_definitions);
    end if;
    perform sidecar.create_trigger_functions(watch_id);
    perform sidecar.drop_triggers(watch_id, w.relation);
    if w.companion is not null then
        perform sidecar.drop_triggers(watch_id, w.companion);
    end if;
    perform sidecar.create_triggers(watch_id);
    perform sidecar.start_scan(watch_id, 'backfill');
    insert into sidecar.progress (watch_id) values (watch_id) on conflict do nothing;
    delete from sidecar.breakages b where b.watch_id = install_watch.watch_id;
    perform pg_notify('sidecar_watches', '');
end $$;

-- The active or former watch of (relation, target); NULL where there was none.
create function sidecar.find_watch(relation regclass, target text) returns sidecar.watches
language sql stable set search_path = pg_catalog, pg_temp as $$
    select w from sidecar.watches w where w.relation = find_watch.relation and w.target = find_watch.target;
$$;

-- Like find_watch, but raises unless the watch is active. `target` NULL: the only watch of the table.
create function sidecar.need_watch(relation regclass, target text) returns sidecar.watches
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
    targets text;
    n integer;
begin
    select count(*), string_agg(quote_literal(x.target), ', ' order by x.target) into n, targets
        from sidecar.watches x where x.relation = need_watch.relation and x.unwatched_at is null;
    select * into w from sidecar.watches x where x.relation = need_watch.relation and x.unwatched_at is null
        and (x.target = need_watch.target or (need_watch.target is null and n = 1));
    if w.id is not null then
        return w;
    elsif n = 0 then
        raise exception 'table % is not watched', relation using errcode = 'undefined_object',
            hint = format('select sidecar.watch(%L, source => …) starts it; select * from sidecar.status lists what is watched.', relation::text);
    elsif need_watch.target is null then
        raise exception 'table % has % watches', relation, n using errcode = 'ambiguous_column',
            hint = format('Name the target, one of: %s', targets);
    end if;
    raise exception 'table % has no watch with target %', relation, quote_literal(need_watch.target)
        using errcode = 'undefined_object', hint = format('Its targets: %s', targets);
end $$;

create function sidecar.unwatch(relation regclass, target text default null, drop_target boolean default false) returns void
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
    w sidecar.watches := sidecar.need_watch(relation, target);
    home regclass := coalesce(w.companion, w.relation);
begin
    -- Order: the watch row (completes hold it FOR SHARE), then the user's table, then our tables. The other way round a
    -- complete that waits for the user's row would wait for us, and we for it.
    perform from sidecar.watches x where x.id = w.id for update;
    for attempt in 1 .. 5 loop
        begin
            perform sidecar.drop_triggers(w.id, w.relation);
            if w.companion is not null then
                perform sidecar.drop_triggers(w.id, w.companion);
            end if;
            exit;
        exception when lock_not_available then
            if attempt = 5 then
                raise exception 'table % is in use: its triggers could not be dropped within 10 s', relation
                    using errcode = 'lock_not_available', hint = 'Another transaction holds it. Nothing was changed; try again later.';
            end if;
        end;
    end loop;
    execute format('drop function if exists sidecar.enqueue_%1$s_statement(), sidecar.enqueue_%1$s_row()', w.id);
    execute format('drop table if exists sidecar.events_%1$s, sidecar.delayed_%1$s', w.id);
    delete from sidecar.dead_letters d where d.watch_id = w.id;
    delete from sidecar.scans s where s.watch_id = w.id;
    delete from sidecar.breakages b where b.watch_id = w.id;
    if drop_target then
        if w.companion is not null then
            execute format('drop table %s', home);
        else
            execute format('alter table %s drop column if exists %I', home, w.target);
        end if;
        execute format('drop table if exists sidecar.ledger_%s', w.id);
        delete from sidecar.watches x where x.id = w.id;
    else
        update sidecar.watches x set unwatched_at = now(), paused = false, broken = null where x.id = w.id;
    end if;
    perform pg_notify('sidecar_watches', '');
end $$;

create function sidecar.watch(
    relation regclass, source text[], target text default null, kind text default null, companion text default null,
    dimensions integer default 1152, model text default null, index text default 'halfvec', replace boolean default false
) returns integer
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '10s' as $$
declare
    key record;
    wanted sidecar.watches;
    former sidecar.watches;
begin
    perform sidecar.vector_schema();
    perform sidecar.check_relation(relation);
    key := sidecar.primary_key_of(relation);
    wanted.kind := sidecar.kind_of_source(relation, source, kind);
    wanted.target := coalesce(watch.target, source[1] || '_embedding');
    if dimensions is null or dimensions not between 1 and 16000 then
        raise exception 'dimensions is %', coalesce(dimensions::text, 'NULL') using errcode = 'invalid_parameter_value',
            hint = 'Give the length of the model''s vectors: 1152 for the default model.';
    elsif coalesce(index, '') not in ('halfvec', 'vector', 'none') then
        raise exception 'index is %', coalesce(quote_literal(index), 'NULL') using errcode = 'invalid_parameter_value',
            hint = 'index is ''halfvec'' (default: a third of the size, same recall), ''vector'' or ''none''.';
    elsif (index = 'vector' and dimensions > 2000) or (index = 'halfvec' and dimensions > 4000) then
        raise exception 'an HNSW index on % takes at most % dimensions, not %', index, case index when 'vector' then 2000 else 4000 end, dimensions
            using errcode = 'invalid_parameter_value', hint = 'Say index => ''none'', or ''halfvec'' for up to 4000.';
    elsif wanted.target = any (source) then
        raise exception 'target and source are both %', quote_literal(wanted.target) using errcode = 'invalid_parameter_value',
            hint = 'Name a column of its own for the vector.';
    elsif octet_length(wanted.target) > 63 then
        raise exception 'target % is longer than the 63 bytes of a name', quote_literal(wanted.target) using errcode = 'name_too_long',
            hint = 'Say target => … with a shorter one.';
    end if;
    -- Writers wait here, so that no row falls between the triggers and the backfill.
    begin
        execute format('lock table %s in share row exclusive mode', relation);
    exception when lock_not_available then
        raise exception 'table % is in use: it could not be locked within 10 s', relation using errcode = 'lock_not_available',
            hint = 'A transaction that wrote to it is still open. Nothing was changed; try again when it is over.';
    end;

    former := sidecar.find_watch(relation, wanted.target);
    if former.id is not null and former.unwatched_at is null then
        if (former.kind, former.source, former.dimensions, former.index_kind, former.model) is not distinct from
           (wanted.kind, watch.source, watch.dimensions, watch.index, watch.model)
           and former.companion is not distinct from
               (case when watch.companion is not null then sidecar.prepare_companion(relation, watch.companion, wanted.target, dimensions) end)
           and former.key_columns = key.columns then
            -- The same call again changes nothing, unless something is missing or broken: then it mends it.
            if former.broken is not null or exists (select from sidecar.breakages b where b.watch_id = former.id)
               or (select count(*) from pg_trigger t where t.tgrelid in (relation, former.companion)
                   and t.tgname like format('sidecar\_%s\_%%', former.id)) < 5 then
                update sidecar.watches w set broken = null where w.id = former.id;
                perform sidecar.install_watch(former.id, key.definitions);
            end if;
            return former.id;
        elsif not replace then
            raise exception '%.% is watched already, with source %, companion %, dimensions %, model %, index %', relation,
                quote_ident(wanted.target), former.source, coalesce(former.companion::text, 'none'), former.dimensions,
                coalesce(former.model, 'any'), former.index_kind
                using errcode = 'duplicate_object', hint = 'Add replace => true to change it, or name another target.';
        end if;
        perform sidecar.unwatch(relation, wanted.target);
        former := sidecar.find_watch(relation, wanted.target);
    end if;

    if companion is null then
        perform sidecar.prepare_target(relation, wanted.target, dimensions, source);
        perform sidecar.warn_of_updates(relation, index);
    else
        wanted.companion := sidecar.prepare_companion(relation, companion, wanted.target, dimensions);
    end if;
    -- A ledger with another key or other vectors says nothing about this watch.
    if former.id is not null and (former.key_columns <> key.columns or former.key_types <> key.types or former.dimensions <> dimensions) then
        execute format('drop table if exists sidecar.ledger_%s', former.id);
        delete from sidecar.watches w where w.id = former.id;
        former := null;
    end if;
    if former.id is not null then
        update sidecar.watches w set kind = wanted.kind, source = watch.source, companion = wanted.companion, index_kind = watch.index,
               model = watch.model, unwatched_at = null, created_at = now() where w.id = former.id;
        wanted.id := former.id;
    else
        insert into sidecar.watches (relation, key_columns, key_types, kind, source, target, companion, dimensions, index_kind, model)
            values (relation, key.columns, key.types, wanted.kind, source, wanted.target, wanted.companion, dimensions, index, model)
            returning id into wanted.id;
    end if;
    perform sidecar.install_watch(wanted.id, key.definitions);
    return wanted.id;
exception when unique_violation then
    raise exception 'column % of % is the target of another watch', quote_literal(wanted.target), coalesce(wanted.companion, relation)
        using errcode = 'duplicate_object', hint = 'Name another target, or unwatch the other one first: select * from sidecar.status.';
end $$;

-- The usual case of one source column.
create function sidecar.watch(
    relation regclass, source text, target text default null, kind text default null, companion text default null,
    dimensions integer default 1152, model text default null, index text default 'halfvec', replace boolean default false
) returns integer
language sql set search_path = pg_catalog, pg_temp as $$
    select sidecar.watch(relation, array[source], target, kind, companion, dimensions, model, index, replace);
$$;

-- Measured: an UPDATE of another column of 1,000 rows goes from 3 ms to 2.4 s with an HNSW index on the same row.
create function sidecar.warn_of_updates(relation regclass, index text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    s record;
begin
    select n_tup_upd, n_live_tup into s from pg_stat_all_tables where relid = relation;
    if index <> 'none' and s.n_tup_upd > greatest(10000, 2 * s.n_live_tup) then
        raise warning 'table % has seen % updates of % rows: with an HNSW index on the same row each of them gets slower (about 2 ms)',
            relation, s.n_tup_upd, s.n_live_tup
            using hint = 'Keep the vector in a table of its own: companion => ''some_table''.';
    end if;
end $$;

revoke all on all functions in schema sidecar from public;

-- An old pgvector is refused here, not at the first watch.
select sidecar.vector_schema();
