-- POST /search: keys and distances of any watch; other columns, and filters on them, only if the watch exposes them.

-- The exposed columns that still exist, in the order of the watch.
create or replace function sidecar_internal.exposed_columns(w sidecar_internal.watches) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
    select array(select e.name from unnest(w.expose) with ordinality e(name, n)
                 where exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = e.name
                               and a.attnum > 0 and not a.attisdropped) order by e.n);
$$;

-- Raises for columns that do not exist, and for those whose content is of no use in an answer.
create or replace function sidecar_internal.check_exposed(relation regclass, expose text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    column_name text;
    type record;
begin
    foreach column_name in array expose loop
        select b.type as base, e.typname, format_type(a.atttypid, a.atttypmod) as printed into type
            from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b join pg_type t on t.oid = b.type
            join pg_type e on e.oid = case when t.typcategory = 'A' then t.typelem else t.oid end
            where a.attrelid = check_exposed.relation and a.attname = column_name and a.attnum > 0 and not a.attisdropped;
        if not found then
            raise exception 'table % has no column %', relation, coalesce(quote_literal(column_name), 'NULL')
                using errcode = 'undefined_column', hint = sidecar_internal.did_you_mean_column(column_name, relation)
                                                      || 'Expose columns of the watched table: expose => array[''title''].';
        elsif type.typname in ('vector', 'halfvec', 'sparsevec', 'bytea') then
            raise exception 'column % of % has type %, which a search does not show', quote_literal(column_name), relation, type.printed
                using errcode = 'datatype_mismatch', hint = 'Expose what names the content, such as a path; vectors are in the table.';
        elsif (select count(*) from unnest(expose) e(name) where e.name = column_name) > 1 then
            raise exception 'column % is exposed twice', quote_literal(column_name) using errcode = 'duplicate_column',
                hint = 'Name it once.';
        end if;
    end loop;
end $$;

-- The columns that a search may name: key and exposed columns that exist. `filter_type` is the type that reads a filter's
-- value; NULL if the column cannot be filtered by. Built-in types and enums only: casts and operators of other types may be
-- functions that their owner made for the purpose, and they would run with the rights of the searching role. Enums are compared
-- by their labels.
create or replace function sidecar_internal.searchable_columns(w sidecar_internal.watches) returns table (name text, filter_type text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select a.attname, case when t.typtype = 'e' or t.oid in ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype,
                                          'float4'::regtype, 'float8'::regtype, 'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype,
                                          'name'::regtype, '"char"'::regtype, 'uuid'::regtype, 'date'::regtype, 'time'::regtype,
                                          'timetz'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'interval'::regtype,
                                          'inet'::regtype, 'cidr'::regtype, 'macaddr'::regtype, 'macaddr8'::regtype, 'bit'::regtype,
                                          'varbit'::regtype, 'money'::regtype, 'bytea'::regtype, 'oid'::regtype)
                        then format('%I.%I', n.nspname, t.typname) end
        from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        join pg_type t on t.oid = b.type join pg_namespace n on n.oid = t.typnamespace
        where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped and a.attname = any (w.key_columns || w.expose);
$$;

-- An expression for a column's value in JSON, as to_json writes it; for types that are not built in, their text. (to_json calls
-- casts to json that a type's owner has made; concat does not.)
create or replace function sidecar_internal.shown_value(relation regclass, column_name text, expression text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format(case when b.type < 16384 then 'to_json(%1$s)' else 'case when %1$s is not null then to_json(concat(%1$s)) end' end, expression)
        from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        where a.attrelid = shown_value.relation and a.attname = column_name and a.attnum > 0 and not a.attisdropped;
$$;

-- A shown column as an expression. A built-in type must still be the type of the column; others become text.
create or replace function sidecar_internal.found_column(relation regclass, row_name text, column_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format(case when b.type < 16384 and b.type <> a.atttypid then 'sidecar_internal.exactly((null::%3$s[])[1], %1$s.%2$I)'
                  when b.type < 16384 then 'sidecar_internal.exactly(null::%3$s, %1$s.%2$I)' else '%1$s.%2$I' end, row_name, a.attname,
                  format_type(a.atttypid, null))
        from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        where a.attrelid = found_column.relation and a.attname = column_name and a.attnum > 0 and not a.attisdropped;
$$;

-- The statement of search_exposed. $1 the query vector, $2 k.
-- The index orders by its own, shorter numbers; the distances returned are those of the stored vectors.
create or replace function sidecar_internal.search_exposed_statement(w sidecar_internal.watches, columns text[], filter jsonb, document text[]) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    vector constant text := format('sidecar_internal.exactly(null::%s, h.%I)', sidecar_internal.stored_type(w), w.target);
    compared constant record := sidecar_internal.compared_type(w);
    type constant text := format('%s.%s(%s)', ext, compared.name, w.dimensions);
    tables constant text := case when w.companion is null then format('%s h', w.relation)
        else format('%s h join %s t on %s', w.companion, w.relation, sidecar_internal.for_each_key(
             sidecar_internal.exact_keys(w, w.companion, 'h'), sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and ')) end;
    t constant text := case when w.companion is null then 'h' else 't' end;
    condition constant text := sidecar_internal.filter_condition(w, filter, t, w.key_columns || sidecar_internal.exposed_columns(w));
    shown constant text := (
        select string_agg(format('(%L, %s)', c.name, sidecar_internal.shown_value(w.relation, c.name, 'n.c' || c.n)), ', ' order by c.n)
        from unnest(columns) with ordinality c(name, n));
begin
    return format('
        with nearest as materialized (
            select %1$s, %2$s as vector%3$s, %4$s as document from %5$s where %2$s is not null%6$s
            order by %2$s%7$s operator(%8$s.<=>) $1::%9$s limit $2
        )
        select json_build_object(%10$s), (n.vector%13$s operator(%8$s.<=>) $1::%8$s.vector)::float8 as distance, %11$s, n.document
        from nearest n order by distance, %12$s',
        sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, t), '%3$s as k%1$s'), vector,
        (select string_agg(format(', %s as c%s', sidecar_internal.found_column(w.relation, t, c.name), c.n), '' order by c.n) from unnest(columns) with ordinality c(name, n)),
        case when cardinality(document) > 0 then
            format('concat_ws('' '', %s)', (select string_agg(format('%s.%I', t, c), ', ') from unnest(document) c)) else 'null::text' end,
        tables, condition, case when compared.is_cast then '::' || type else '' end, ext, type,
        sidecar_internal.key_fields(w, 'n'),
        case when shown is null then '''{}''::json'
             else format('(select json_object_agg(v.name, v.value) from (values %s) v(name, value))', shown) end,
        sidecar_internal.for_each_key(w.key_columns, null, 'n.k%1$s'), case w.storage when 'vector' then '' else format('::%s.vector', ext) end);
end $$;

-- The first column of a filter whose type cannot read the value, and the error. NULL if all can be read. For sidecars of
-- the version before, which only know equality.
create or replace function sidecar_internal.find_unreadable_filter_value(w sidecar_internal.watches, filter jsonb, out column_name text, out complaint text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    asked record;
begin
    for asked in select f.key, c.filter_type, array(select jsonb_array_elements_text(case jsonb_typeof(f.value) when 'array' then f.value
                                                                                     else jsonb_build_array(f.value) end)) as wanted
                 from jsonb_each(filter) f join sidecar_internal.searchable_columns(w) c on c.name = f.key
                 where c.filter_type is not null and jsonb_typeof(f.value) <> 'object' order by f.key collate "C" loop
        if to_regtype(asked.filter_type)::oid >= 16384 then  -- an enum
            select asked.key, format('invalid input value for enum %s: "%s"', asked.filter_type, u.label) into column_name, complaint
                from unnest(asked.wanted) u(label)
                where not exists (select from pg_enum e where e.enumtypid = to_regtype(asked.filter_type) and e.enumlabel = u.label) limit 1;
            if found then
                return;
            end if;
            continue;
        end if;
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
--   filter            of key and exposed columns: see filters.sql
--   columns           which of the exposed columns; unset: all of them
--   document          columns whose text comes along, joined with a space: exposed ones, or the watch's own source
-- Through the index, which is scanned until k rows are found, or hnsw.max_scan_tuples were read.
create or replace function sidecar.search_exposed(
    relation regclass, query_vector real[], target text default null, k integer default 10, filter jsonb default '{}',
    columns text[] default null, document text[] default '{}'
) returns table (key json, distance double precision, shown json, document_text text)
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp as $$
declare
    settings constant text[] := array['hnsw.iterative_scan', 'hnsw.ef_search', 'hnsw.max_scan_tuples'];
    -- NULL before pgvector's library is loaded, and '' after a failed transaction that set it.
    former constant text[] := array(select nullif(current_setting(s, true), '') from unnest(settings) with ordinality u(s, n) order by n);
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    exposed constant text[] := sidecar_internal.exposed_columns(w);
    wanted constant text[] := coalesce(columns, exposed);
    fault text;
    faulty text;
begin
    if k is null or k < 1 then
        raise exception 'k is %', coalesce(k::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Give the number of rows, for example 10.';
    end if;
    with asked as (
        select unnest(wanted) as name, w.key_columns || exposed as allowed
        union all select unnest(document), w.key_columns || exposed || case w.kind when 'text' then w.source else '{}' end
    )
    select format('column %L is not exposed by the watch', a.name), a.name into fault, faulty
        from asked a where a.name is null or a.name <> all (a.allowed)
    union all
    select format('column %L is asked for twice', c.name), null from unnest(wanted) c(name) group by c.name having count(*) > 1
    limit 1;
    if fault is not null then
        raise exception '%', fault using errcode = 'undefined_column',
            hint = format('%sIts columns: %s. To add one: sidecar.watch(..., expose => array[...], replace => true).',
                          sidecar_internal.did_you_mean(faulty, w.key_columns || exposed), array_to_string(w.key_columns || exposed, ', '));
    end if;
    -- Not as settings of the function, which only a superuser could restore from a dump.
    -- relaxed_order, because the statement sorts what was found: measured with a filter that 1 of 200 rows meets (ef_search = 40),
    -- strict_order finds 79 % of the nearest, this 94 %, and no iteration 3 %.
    perform set_config(settings[1], 'relaxed_order', true), set_config(settings[2], least(greatest(2 * k, 100, former[2]::integer), 1000)::text, true),
            set_config(settings[3], greatest(20 * k, 20000)::text, true);
    return query execute sidecar_internal.search_exposed_statement(w, wanted, filter, document)
        using query_vector, k;
    perform set_config(s.name, coalesce(former[s.n], s.otherwise), true)
        from unnest(settings, array['off', '40', '20000']) with ordinality s(name, otherwise, n);
end $$;
comment on function sidecar.search_exposed is
    'The k rows nearest to a vector, with the columns that the watch exposes, filtered by key and exposed columns. It is '
    'what POST /search runs.';
