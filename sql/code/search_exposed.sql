-- POST /search: keys and distances of any watch; other columns, and filters on them, only if the watch exposes them.

-- What a watch exposes without the picture that it embeds, which GET /thumbnail shows and a search does not. A second mention
-- of it stays.
create or replace function sidecar_internal.without_picture(w sidecar_internal.watches) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when w.kind = 'image' and w.expose && w.source then array(
        select e.name from (select u.name, u.n, row_number() over (partition by u.name order by u.n) as mention
                            from unnest(w.expose) with ordinality u(name, n)) e
        where e.name <> w.source[1] or e.mention > 1 order by e.n) else w.expose end;
$$;

-- The exposed columns that a search shows and that still exist, in the order of the watch.
create or replace function sidecar_internal.exposed_columns(w sidecar_internal.watches) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
    select array(select e.name from unnest(sidecar_internal.without_picture(w)) with ordinality e(name, n)
                 where exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = e.name
                               and a.attnum > 0 and not a.attisdropped) order by e.n);
$$;

-- All exposed columns that still exist, in the order of the watch: with the picture.
create or replace function sidecar_internal.present_columns(w sidecar_internal.watches) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
    select array(select e.name from unnest(w.expose) with ordinality e(name, n)
                 where exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = e.name
                               and a.attnum > 0 and not a.attisdropped) order by e.n);
$$;

-- The columns that all of these watches of one table expose, in the order of the first.
create or replace function sidecar_internal.exposed_by_all(watches sidecar_internal.watches[]) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
    select array(select e.name from unnest(sidecar_internal.exposed_columns(watches[1])) with ordinality e(name, n)
                 where (select bool_and(e.name = any (w.expose)) from unnest(watches) w) order by e.n);
$$;

-- Raises for columns that a search of these watches may not show, or not read as a document: of those, a watch of texts permits its source.
create or replace function sidecar_internal.check_shown(watches sidecar_internal.watches[], shown text[], document text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    allowed constant text[] := watches[1].key_columns || sidecar_internal.exposed_by_all(watches);
    sources constant text[] := array(select unnest(w.source) from unnest(watches) w where w.kind = 'text');
    fault text;
    faulty text;
begin
    select format('column %L is not exposed by %s', a.name, case cardinality(watches) when 1 then 'the watch' else 'all of these targets' end), a.name into fault, faulty
        from (select unnest(shown) as name, allowed union all select unnest(document), allowed || sources) a
        where a.name is null or a.name <> all (a.allowed)
    union all
    select format('column %L is asked for twice', c.name), null from unnest(shown) c(name) group by c.name having count(*) > 1
    limit 1;
    if fault is not null then
        raise exception '%', fault using errcode = 'undefined_column',
            hint = format('%sIts columns: %s. To add one: sidecar.watch(..., expose => array[...], replace => true).',
                          sidecar_internal.did_you_mean(faulty, allowed), array_to_string(allowed, ', '));
    end if;
end $$;

-- True if a watch exposes the picture that it embeds, and the column still holds pictures.
create or replace function sidecar_internal.exposes_picture(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select w.kind = 'image' and w.source[1] = any (w.expose)
       and exists (select from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
                   where a.attrelid = w.relation and a.attname = w.source[1] and a.attnum > 0 and not a.attisdropped and b.type = 'bytea'::regtype);
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
                using errcode = 'datatype_mismatch', hint = 'Expose what names the content, such as a path; vectors are in the table. Of pictures only the one that the watch embeds.';
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

-- The first page of a search, as sidecars of the version before ask for it: see search_page.
create or replace function sidecar.search_exposed(
    relation regclass, query_vector real[], target text default null, k integer default 10, filter jsonb default '{}',
    columns text[] default null, document text[] default '{}'
) returns table (key json, distance double precision, shown json, document_text text)
language sql stable rows 10 set search_path = pg_catalog, pg_temp as $$
    select s.key, s.distance, s.shown, s.document_text
        from sidecar.search_page(relation, query_vector, target, k, filter, columns, document) s;
$$;
comment on function sidecar.search_exposed is
    'The k rows nearest to a vector, with the columns that the watch exposes, filtered by key and exposed columns: the first '
    'page of sidecar.search_page.';
