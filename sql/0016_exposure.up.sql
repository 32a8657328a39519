-- Exposed columns, and the search that shows them.
--
-- POST /search gives keys and distances of any watch. Other columns, and filters on them, only those that the watch exposes.

-- By name: a number would not survive a dump. A column that was renamed or dropped is shown no more.
alter table sidecar.watches
    add column expose text[] not null default '{}',
    add constraint watches_expose_check check (array_position(expose, null) is null and coalesce(array_ndims(expose), 1) = 1);

-- Those that are still there, in the order of the watch.
create function sidecar.exposed_columns(w sidecar.watches) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
    select array(select e.name from unnest(w.expose) with ordinality e(name, n)
                 where exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = e.name
                               and a.attnum > 0 and not a.attisdropped) order by e.n);
$$;

-- Those that a role may not read; NULL: it may read all.
create function sidecar.unreadable_columns(w sidecar.watches, role name) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
        from pg_attribute a join pg_roles r on r.rolname = unreadable_columns.role
        where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped and a.attname = any (w.expose)
          and not has_column_privilege(r.oid, a.attrelid, a.attnum, 'select');
$$;

-- Refuses columns that are not there, and those whose content is of no use in an answer.
create function sidecar.check_exposed(relation regclass, expose text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    column_name text;
    type record;
begin
    foreach column_name in array expose loop
        select b.type as base, e.typname, format_type(a.atttypid, a.atttypmod) as printed into type
            from pg_attribute a cross join sidecar.base_type(a.atttypid, a.atttypmod) b join pg_type t on t.oid = b.type
            join pg_type e on e.oid = case when t.typcategory = 'A' then t.typelem else t.oid end
            where a.attrelid = check_exposed.relation and a.attname = column_name and a.attnum > 0 and not a.attisdropped;
        if not found then
            raise exception 'table % has no column %', relation, coalesce(quote_literal(column_name), 'NULL')
                using errcode = 'undefined_column', hint = 'Expose columns of the watched table: expose => array[''title''].';
        elsif type.typname in ('vector', 'halfvec', 'sparsevec', 'bytea') then
            raise exception 'column % of % has type %, which a search does not show', quote_literal(column_name), relation, type.printed
                using errcode = 'datatype_mismatch', hint = 'Expose what names the content, such as a path; vectors are in the table.';
        elsif (select count(*) from unnest(expose) e(name) where e.name = column_name) > 1 then
            raise exception 'column % is exposed twice', quote_literal(column_name) using errcode = 'duplicate_column',
                hint = 'Name it once.';
        end if;
    end loop;
end $$;

-- The columns of the watched table that a watch works with, those that are there. `written`: the target, if it stands there.
create or replace function sidecar.columns_of(w sidecar.watches, out readable text, out written text, out keys text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attname <> w.target or w.companion is null or a.attname = any (w.expose)),
           string_agg(quote_ident(a.attname), ', ') filter (where a.attname = w.target),
           string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attname = any (w.key_columns))
        from pg_attribute a
        where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
          and a.attname = any (w.key_columns || w.source || w.target || w.expose);
$$;

-- Gives the workers what they need of the user's tables, and the installer what it needs to count rows, as far as the caller
-- may. Warns of what is missing then.
create or replace function sidecar.grant_table(w sidecar.watches) returns void
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
        if is_owner and concat(sidecar.denial_of(w, pg_get_userbyid(worker)), sidecar.unreadable_columns(w, pg_get_userbyid(worker))) <> '' then
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
        denied := sidecar.unreadable_columns(w, pg_get_userbyid(worker));
        if denied is not null then
            raise warning 'searches of % cannot show % yet', w.relation, denied
                using hint = format('Let the owner, or a superuser, run: grant select (%s) on %s to %s', denied, w.relation, worker);
        end if;
    end loop;
end $$;

-- Raises for what cannot be watched as asked; fills in what was left out. Changes nothing.
create or replace function sidecar.checked_watch(wanted sidecar.watches, companion_name text) returns sidecar.watches
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    perform sidecar.vector_schema();
    perform sidecar.check_relation(wanted.relation);
    select p.columns, p.types into wanted.key_columns, wanted.key_types from sidecar.primary_key_of(wanted.relation) p;
    perform sidecar.check_key_types(wanted.relation);
    wanted.kind := sidecar.kind_of_source(wanted.relation, wanted.source, wanted.kind);
    wanted.target := coalesce(wanted.target, wanted.source[1] || '_embedding');
    perform sidecar.check_options(wanted.target, wanted.source, wanted.dimensions, wanted.index_kind);
    wanted.expose := coalesce(wanted.expose, '{}');
    perform sidecar.check_exposed(wanted.relation, wanted.expose);
    wanted.companion := to_regclass(companion_name);
    if wanted.companion is not null then
        perform sidecar.check_companion(wanted);
    elsif companion_name is null then
        perform sidecar.check_place(wanted);
    elsif wanted.target = any (wanted.key_columns) then
        raise exception 'target % is a key column, which the companion has too', quote_literal(wanted.target)
            using errcode = 'invalid_parameter_value', hint = 'Name a column of its own for the vector.';
    end if;
    return wanted;
end $$;

-- Writes the watch's row. A former one is taken up again with its ledger, unless its vectors were of another type.
-- (Keys that were merely renamed keep it: an entry counts only where content and vector are what it says.)
create or replace function sidecar.save_watch(wanted sidecar.watches, former sidecar.watches) returns sidecar.watches
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    saved sidecar.watches;
    other sidecar.watches;
    fits boolean := (former.kind, former.dimensions) = (wanted.kind, wanted.dimensions);
begin
    select * into other from sidecar.watches w
        where w.id is distinct from former.id and coalesce(w.companion, w.relation) = coalesce(wanted.companion, wanted.relation)
          and (w.target = wanted.target or w.companion = wanted.companion);
    if found then
        raise exception 'column % of % holds the vectors of another watch, on %', quote_literal(other.target),
                coalesce(other.companion, other.relation), other.relation
            using errcode = 'duplicate_object', hint = format('Name another one, or: select sidecar.unwatch(%L, %L, drop_target => true)',
                                                              other.relation, other.target);
    end if;
    if former.id is null then
        insert into sidecar.watches (relation, key_columns, key_types, kind, source, target, companion, dimensions, index_kind,
                                     model, expose)
            values (wanted.relation, wanted.key_columns, wanted.key_types, wanted.kind, wanted.source, wanted.target,
                    wanted.companion, wanted.dimensions, wanted.index_kind, wanted.model, wanted.expose)
            returning * into saved;
        return saved;
    end if;
    if not fits or not sidecar.retype_ledger(former.id, former.key_types, wanted.key_types) then
        perform sidecar.drop_queue(former.id, keep_ledger => false);
    end if;
    -- The new generation voids what the ledger says until the backfill has looked at the row: it may have changed since.
    update sidecar.watches w
        set key_columns = wanted.key_columns, key_types = wanted.key_types, kind = wanted.kind, source = wanted.source,
            companion = wanted.companion, dimensions = wanted.dimensions, index_kind = wanted.index_kind, model = wanted.model,
            expose = wanted.expose, unwatched_at = null, created_at = now(),
            truncated_gen = nextval('sidecar.generation'), paused = former.paused and former.unwatched_at is null,
            fingerprint = case when former.dimensions = wanted.dimensions then w.fingerprint end,
            encoder = case when former.dimensions = wanted.dimensions then w.encoder end
        where w.id = former.id returning * into saved;
    return saved;
end $$;

-- Shows other columns from now on, without a new backfill. What is shown no more, the workers may read no more.
create function sidecar.change_exposure(w sidecar.watches, wanted text[]) returns sidecar.watches
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if w.expose <> wanted then
        perform sidecar.revoke_table(w);
        update sidecar.watches x set expose = wanted where x.id = w.id returning * into w;
    end if;
    return w;
end $$;

-- A new argument is a new function. Whoever may call the former one may call it; functions that the user made of it keep
-- the former one from going, and the migration says which.
alter function sidecar.watch(regclass, text[], text, text, text, integer, text, text, boolean) rename to former_watch;
alter function sidecar.watch(regclass, text, text, text, text, integer, text, text, boolean) rename to former_watch;

-- Keeps target up to date with source, from now on and for the rows that are there. Returns the watch's id. The same call
-- again changes nothing; if something is missing or broken it mends it. Another companion, or none any longer: the vectors
-- move, and are not made again.
create function sidecar.watch(
    relation regclass, source text[], target text default null, kind text default null, companion text default null,
    dimensions integer default 1152, model text default null, index text default 'halfvec', replace boolean default false,
    expose text[] default '{}'
) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    companion_name constant text := sidecar.companion_name(relation, companion);
    wanted sidecar.watches;
    former sidecar.watches;
    is_same boolean;
begin
    perform sidecar.follow_changes(relation, target);
    wanted.relation := relation; wanted.source := source; wanted.target := target; wanted.kind := kind;
    wanted.dimensions := dimensions; wanted.index_kind := index; wanted.model := model;
    wanted.expose := expose;
    wanted := sidecar.checked_watch(wanted, companion_name);
    select * into former from sidecar.watches w where w.relation = wanted.relation and w.target = wanted.target for update;
    if former.id is not null and former.unwatched_at is null then
        is_same := sidecar.is_same_watch(former, wanted) and (former.companion is null) = (companion_name is null);
        if not replace and not (is_same and sidecar.exposed_columns(former) = wanted.expose) then
            raise exception '%.% is watched already, with source %, companion %, dimensions %, model %, index %, expose %', relation,
                quote_ident(former.target), former.source, coalesce(former.companion::text, 'none'), former.dimensions,
                coalesce(former.model, 'any'), former.index_kind, former.expose
                using errcode = 'duplicate_object', hint = 'Add replace => true to change it, or name another target.';
        elsif is_same and sidecar.is_intact(former, wanted.key_columns, wanted.key_types) then
            former := sidecar.change_exposure(former, wanted.expose);
            perform sidecar.grant_table(former);
            perform sidecar.dress_companion(former);
            return former.id;
        end if;
        perform sidecar.unwatch(relation, former.target);
    end if;
    return coalesce(sidecar.start_watch(wanted, former, companion_name),
                    sidecar.watch(relation, source, target, kind, companion, dimensions, model, index, replace, expose));
end $$;

-- The usual case of one source column.
create function sidecar.watch(
    relation regclass, source text, target text default null, kind text default null, companion text default null,
    dimensions integer default 1152, model text default null, index text default 'halfvec', replace boolean default false,
    expose text[] default '{}'
) returns integer
language sql set search_path = pg_catalog, pg_temp as $$
    select sidecar.watch(relation, array[source], target, kind, companion, dimensions, model, index, replace, expose);
$$;

-- The call that makes a watch what it is, or mends it. A companion that is gone is made anew, under a name of its own.
create or replace function sidecar.watch_statement(w sidecar.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('select sidecar.watch(%L, source => array[%s], target => %L, kind => %L, companion => %L, dimensions => %s, model => %L, index => %L%s)',
                  w.relation, (select string_agg(quote_literal(c), ', ' order by i) from unnest(w.source) with ordinality u(c, i)),
                  w.target, w.kind, case when w.companion is not null then coalesce(
                      (select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.companion),
                      (select format('%I.%I', n.nspname, left(c.relname || '_' || w.target, 63))
                       from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.relation)) end,
                  w.dimensions, w.model, w.index_kind, coalesce(', expose => array[' || (
                      select string_agg(quote_literal(c), ', ' order by i)
                      from unnest(sidecar.exposed_columns(w)) with ordinality u(c, i)) || ']', ''));
$$;

-- What a search may be asked for: key and exposed columns that are there. `filter_type` is the type that reads a filter's value;
-- NULL: it cannot be filtered by. Built-in types and enums only: a cast or an operator of another type may be a function that
-- its owner made for the purpose, and it would run with the rights of whoever searches.
create function sidecar.searchable_columns(w sidecar.watches) returns table (name text, filter_type text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select a.attname, case when t.typtype = 'e' and not exists (select from pg_cast c where t.oid in (c.castsource, c.casttarget)
                                                                or t.typarray in (c.castsource, c.casttarget))
                             or t.oid in ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype,
                                          'float4'::regtype, 'float8'::regtype, 'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype,
                                          'name'::regtype, '"char"'::regtype, 'uuid'::regtype, 'date'::regtype, 'time'::regtype,
                                          'timetz'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'interval'::regtype,
                                          'inet'::regtype, 'cidr'::regtype, 'macaddr'::regtype, 'macaddr8'::regtype, 'bit'::regtype,
                                          'varbit'::regtype, 'money'::regtype, 'bytea'::regtype, 'oid'::regtype)
                        then format('%I.%I', n.nspname, t.typname) end
        from pg_attribute a cross join sidecar.base_type(a.atttypid, a.atttypmod) b
        join pg_type t on t.oid = b.type join pg_namespace n on n.oid = t.typnamespace
        where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped and a.attname = any (w.key_columns || w.expose);
$$;

-- An expression for a column's value in JSON, as to_json writes it; of types that are not built in, their text. (to_json calls
-- casts to json that a type's owner has made; concat does not.)
create function sidecar.shown_value(relation regclass, column_name text, expression text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format(case when b.type < 16384 then 'to_json(%1$s)' else 'case when %1$s is not null then to_json(concat(%1$s)) end' end, expression)
        from pg_attribute a cross join sidecar.base_type(a.atttypid, a.atttypmod) b
        where a.attrelid = shown_value.relation and a.attname = column_name and a.attnum > 0 and not a.attisdropped;
$$;

-- What search_exposed runs. $1 the query vector, $2 k, $3 for each column of the filter, in their order, the value that is wanted, or
-- the literal of an array of them. That is read in a subquery: once, where a bare cast would be called for every row. The index gives the nearest by its own, shorter numbers; distances are those of the stored vectors.
create function sidecar.search_exposed_statement(w sidecar.watches, columns text[], filter jsonb, document text[]) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    ext constant text := quote_ident(sidecar.vector_schema());
    vector constant text := format('h.%I', w.target);
    type constant text := format('%s.%s(%s)', ext, case w.index_kind when 'halfvec' then 'halfvec' else 'vector' end, w.dimensions);
    tables constant text := case when w.companion is null then format('%s h', w.relation)
        else format('%s h join %s t on %s', w.companion, w.relation, sidecar.for_each_key(w.key_columns, null, 't.%2$I = h.%2$I', ' and ')) end;
    t constant text := case when w.companion is null then 'h' else 't' end;
    condition constant text := (
        select string_agg(format(case jsonb_typeof(f.value) when 'null' then ' and %1$s.%2$I is null'
                                     when 'array' then ' and %1$s.%2$I = any ((select ($3::text[])[%3$s]::%4$s[])::%4$s[])'
                                     else ' and %1$s.%2$I = ($3::text[])[%3$s]::%4$s' end, t, f.key, f.n, c.filter_type), '' order by f.n)
        from (select e.key, e.value, row_number() over (order by e.key collate "C") as n from jsonb_each(filter) e) f
        left join sidecar.searchable_columns(w) c on c.name = f.key);
    shown constant text := (
        select string_agg(format('(%L, %s)', c.name, sidecar.shown_value(w.relation, c.name, 'n.c' || c.n)), ', ' order by c.n)
        from unnest(columns) with ordinality c(name, n));
begin
    return format('
        with nearest as materialized (
            select %1$s, %2$s as vector%3$s, %4$s as document from %5$s where %2$s is not null%6$s
            order by %2$s%7$s operator(%8$s.<=>) $1::%9$s limit $2
        )
        select json_build_object(%10$s), (n.vector operator(%8$s.<=>) $1::%8$s.vector)::float8 as distance, %11$s, n.document
        from nearest n order by distance, %12$s',
        sidecar.for_each_key(w.key_columns, null, t || '.%2$I as k%1$s'), vector,
        (select string_agg(format(', %s.%I as c%s', t, c.name, c.n), '' order by c.n) from unnest(columns) with ordinality c(name, n)),
        case when cardinality(document) > 0 then
            format('concat_ws('' '', %s)', (select string_agg(format('%s.%I', t, c), ', ') from unnest(document) c)) else 'null::text' end,
        tables, condition, case w.index_kind when 'halfvec' then '::' || type else '' end, ext, type,
        sidecar.for_each_key(w.key_columns, null, '%2$L, n.k%1$s'),
        case when shown is null then '''{}''::json'
             else format('(select json_object_agg(v.name, v.value) from (values %s) v(name, value))', shown) end,
        sidecar.for_each_key(w.key_columns, null, 'n.k%1$s'));
end $$;

-- The first column of a filter whose type cannot read the value, and what it says of it. NULL: all can be read.
create function sidecar.unreadable_filter(w sidecar.watches, filter jsonb, out column_name text, out complaint text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    asked record;
begin
    for asked in select f.key, c.filter_type, array(select jsonb_array_elements_text(case jsonb_typeof(f.value) when 'array' then f.value
                                                                                     else jsonb_build_array(f.value) end)) as wanted
                 from jsonb_each(filter) f join sidecar.searchable_columns(w) c on c.name = f.key
                 where c.filter_type is not null and jsonb_typeof(f.value) <> 'object' order by f.key collate "C" loop
        begin
            execute format('select $1::%s[]', asked.filter_type) using asked.wanted::text;
        exception when data_exception then
            column_name := asked.key;
            complaint := sqlerrm;
            return;
        end;
    end loop;
end $$;

-- The rows of a watch that are nearest to a vector, nearest first, with the columns that the watch exposes.
--   relation, target  the watch; target may be left out where the table has one
--   filter            column → value, or a list of values of which one fits; null is IS NULL. Key and exposed columns
--   columns           which of the exposed columns; unset: all of them
--   document          columns whose text comes along, joined with a space: exposed ones, or the watch's own source
-- Through the index, which goes on until it has found k rows, or has looked at hnsw.max_scan_tuples of them.
create function sidecar.search_exposed(
    relation regclass, query_vector real[], target text default null, k integer default 10, filter jsonb default '{}',
    columns text[] default null, document text[] default '{}'
) returns table (key json, distance double precision, shown json, document_text text)
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp as $$
declare
    settings constant text[] := array['hnsw.iterative_scan', 'hnsw.ef_search', 'hnsw.max_scan_tuples'];
    -- Before pgvector's library is loaded it is NULL, and after a transaction that set it and failed it is ''.
    former constant text[] := array(select nullif(current_setting(s, true), '') from unnest(settings) with ordinality u(s, n) order by n);
    w constant sidecar.watches := sidecar.need_watch(relation, target);
    exposed constant text[] := sidecar.exposed_columns(w);
    wanted constant text[] := coalesce(columns, exposed);
    fault text;
begin
    if k is null or k < 1 then
        raise exception 'k is %', coalesce(k::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Say how many rows you want, for example 10.';
    end if;
    with asked as (
        select unnest(wanted) as name, w.key_columns || exposed as allowed
        union all select unnest(document), w.key_columns || exposed || case w.kind when 'text' then w.source else '{}' end
    )
    select format('column %L is not exposed by the watch', a.name) into fault
        from asked a where a.name is null or a.name <> all (a.allowed)
    union all
    select format('column %L is asked for twice', c.name) from unnest(wanted) c(name) group by c.name having count(*) > 1
    union all
    select format(case when c.name is null then 'column %L is not exposed by the watch'
                       when c.filter_type is null then 'column %L has a type that a filter cannot compare'
                       else 'the filter on %L is an object' end, f.key)
        from jsonb_each(filter) f left join sidecar.searchable_columns(w) c on c.name = f.key
        where c.filter_type is null or jsonb_typeof(f.value) = 'object'
    limit 1;
    if fault is not null then
        raise exception '%', fault using errcode = 'undefined_column',
            hint = format('Its columns: %s. To add one: sidecar.watch(…, expose => array[…], replace => true).',
                          array_to_string(w.key_columns || exposed, ', '));
    end if;
    -- Not as settings of the function: a role that is no superuser could not restore it from a dump.
    -- relaxed_order, because the statement sorts what was found: measured with a filter that 1 of 200 rows meets (ef_search = 40),
    -- strict_order finds 79 % of the nearest, this 94 %, and no iteration 3 %.
    perform set_config(settings[1], 'relaxed_order', true), set_config(settings[2], least(greatest(2 * k, 100), 1000)::text, true),
            set_config(settings[3], greatest(20 * k, 20000)::text, true);
    return query execute sidecar.search_exposed_statement(w, wanted, filter, document)
        using query_vector, k, array(
            select case jsonb_typeof(f.value) when 'array' then array(select jsonb_array_elements_text(f.value))::text else f.value #>> '{}' end
            from jsonb_each(filter) f order by f.key collate "C");
    perform set_config(s.name, coalesce(former[s.n], s.otherwise), true)
        from unnest(settings, array['off', '40', '20000']) with ordinality s(name, otherwise, n);
end $$;

-- Both used to fail in a session whose first search had failed: what was to be put back was neither a value nor NULL.
-- The rows nearest to a vector: their keys and cosine distances (0 to 2), nearest first. Through the index, which goes on
-- until it has found k rows. `query_vector` is a vector's text, '[0.1, …]', so that this works wherever pgvector lives.
create or replace function sidecar.search(relation regclass, query_vector text, target text default null, k integer default 10)
returns table (key jsonb, distance double precision)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    former_scan constant text := coalesce(nullif(current_setting('hnsw.iterative_scan', true), ''), 'off');
    w sidecar.watches := sidecar.need_watch(relation, target);
    ext text := quote_ident(sidecar.vector_schema());
    type text := format('%s.%s(%s)', ext, case w.index_kind when 'halfvec' then 'halfvec' else 'vector' end, w.dimensions);
    measure text := format('h.%I%s operator(%s.<=>) $1::%s', w.target, case w.index_kind when 'halfvec' then '::' || type else '' end, ext, type);
begin
    if search.k is null or search.k < 1 then
        raise exception 'k is %', coalesce(search.k::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Say how many rows you want, for example 10.';
    end if;
    -- Not as a setting of the function: a role that is no superuser could not restore it from a dump.
    perform set_config('hnsw.iterative_scan', 'strict_order', true);
    return query execute format('select jsonb_build_object(%s), (%s)::float8 from %s h where h.%I is not null%s order by %s limit $2',
        sidecar.for_each_key(w.key_columns, null, '%2$L, h.%2$I'), measure, coalesce(w.companion, w.relation), w.target,
        case when w.companion is not null then format(' and exists (select from %s t where %s)', w.relation,
            sidecar.for_each_key(w.key_columns, null, 't.%2$I = h.%2$I', ' and ')) else '' end, measure)
        using query_vector, k;
    perform set_config('hnsw.iterative_scan', former_scan, true);
end $$;

-- hybrid_search takes a vector, whose type stands in the schema that pgvector was installed in.
select set_config('search_path', 'pg_catalog, ' || quote_ident(sidecar.vector_schema()), true);

-- The rows of a watched table that are near a vector, or match a text, best first.
--   relation, target  the watch; target may be left out where the table has one
--   query_vector      of a text or a picture, as the sidecar's REST service gives it; NULL: full text only
--   query_text        in the syntax of web search engines; blank, or stop words only: vectors only
--   document          a tsvector column, or text columns; unset: the watch's own text columns
--   filter            column → value, such as {"tenant": 7}
--   candidates        how many rows each side proposes; unset: four times k, at least 100
-- A row gets weight / (rrf_constant + rank) from each side; `distance` is the cosine distance, NULL where only its text matched.
create or replace function sidecar.hybrid_search(
    relation regclass, query_vector vector, query_text text, target text default null, document text[] default null,
    k integer default 10, filter jsonb default '{}', config regconfig default 'pg_catalog.english', candidates integer default null,
    rrf_constant integer default 60, vector_weight double precision default 1, text_weight double precision default 1)
returns table (key jsonb, score double precision, vector_rank bigint, text_rank bigint, distance double precision)
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
    former_scan constant text := coalesce(nullif(current_setting('hnsw.iterative_scan', true), ''), 'off');
    w constant sidecar.watches := sidecar.need_watch(relation, target);
    words tsquery := websearch_to_tsquery(config, coalesce(query_text, ''));
begin
    if k < 0 or candidates < 1 or rrf_constant < 0 then
        raise exception 'k must be 0 or more, candidates 1 or more, rrf_constant 0 or more' using errcode = 'invalid_parameter_value',
            hint = format('They are %s, %s and %s.', k, coalesce(candidates::text, 'unset'), rrf_constant);
    elsif w.kind <> 'text' and document is null then
        raise exception 'target % is made of pictures, which have no text to match', quote_literal(w.target)
            using errcode = 'invalid_parameter_value', hint = 'Name text columns of the same table: document => array[''title''].';
    end if;
    if numnode(words) = 0 then
        words := null;
    end if;
    -- Not as a setting of the function: a role that is no superuser could not restore it from a dump.
    perform set_config('hnsw.iterative_scan', 'strict_order', true);
    return query execute sidecar.hybrid_statement(w, sidecar.search_document(relation, coalesce(document, w.source), config),
                                                  sidecar.search_condition(filter))
        using query_vector, words, coalesce(candidates, greatest(4 * k, 100)), rrf_constant, vector_weight, text_weight, k;
    perform set_config('hnsw.iterative_scan', former_scan, true);
end $$;

revoke all on all functions in schema sidecar from public;
do $$
declare
    granted record;
begin
    for granted in select distinct case a.grantee when 0 then 'public' else a.grantee::regrole::text end as role
                   from pg_proc p cross join aclexplode(p.proacl) a
                   where p.pronamespace = 'sidecar'::regnamespace and p.proname = 'former_watch' and a.grantee <> p.proowner loop
        execute format('grant execute on routine sidecar.watch(regclass, text[], text, text, text, integer, text, text, boolean, text[]), '
                       'sidecar.watch(regclass, text, text, text, text, integer, text, text, boolean, text[]) to %s', granted.role);
    end loop;
end $$;
drop function sidecar.former_watch(regclass, text[], text, text, text, integer, text, text, boolean);
drop function sidecar.former_watch(regclass, text, text, text, text, integer, text, text, boolean);
select sidecar.renew_grants();
