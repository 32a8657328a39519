-- Pages of a search: by the number of rows to skip, or after a place that a page before has given.

-- The statement of search_page. $1 the query vector, $2 k, $3 rows to skip, $4 rows that earlier pages had; $5 and $6, if it goes on `after` a
-- place, the distance and the key there.
-- Pages are cut in the order of the index, by its own, shorter numbers and then by key, so that none loses a row that rounding moves; within
-- a page the distances are those of the stored vectors. `with ties`, because an index gives rows of one distance in any order; of
-- such rows up to 1000 more than a page holds are read. Numbers in the key of a place are texts: drivers read those of JSON as
-- floats.
-- An IVFFlat index that goes on after its first lists, for a filter, gives rows that are nearer than some before. So 4, 16, 64 ... pages are read, and
-- those of one such number are cut from the same rows: measured with a filter that 1 of 50 rows meets, one of six rows came twice by `skip`, and
-- a quarter of the rows never by `after`.
-- (With a second sort column Postgres 16 would not use the index. What it gives is sorted once more, + 0, because it may be only nearly in order.)
create or replace function sidecar_internal.search_page_statement(w sidecar_internal.watches, columns text[], filter jsonb, document text[], after boolean) returns text
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
    measure constant text := format('%s%s operator(%s.<=>) $1::%s', vector, case when compared.is_cast then '::' || type else '' end, ext, type);
    keys constant text := sidecar_internal.for_each_key(w.key_columns, null, 'n.k%1$s');
    rows_to_read constant text := case w.index_method
        when 'ivfflat' then '($2 * 4 ^ greatest(ceil(log(4, ($2::bigint + $3)::numeric / $2)), 1))::bigint' else '$2::bigint + $3' end;
    beyond constant text := case when after then format(' and (%1$s > $5 or (%1$s = $5 and (%2$s) > (select %3$s from %4$s)))', measure,
        sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, t), '%3$s'),
        sidecar_internal.for_each_key(w.key_columns, null, 'r.k%1$s'), sidecar_internal.typed_key(w, '$6')) else '' end;
    shown constant text := (
        select string_agg(format('(%L, %s)', c.name, sidecar_internal.shown_value(w.relation, c.name, 'n.c' || c.n)), ', ' order by c.n)
        from unnest(columns) with ordinality c(name, n));
begin
    return format('
        with nearest as materialized (
            select f.* from (
                select %1$s, %2$s as vector%3$s, %4$s as document, %5$s as place from %6$s where %2$s is not null%7$s
                order by %5$s fetch first (%13$s) rows with ties) f limit %13$s + 1000
        ), page as (
            select n.*, row_number() over (order by n.place + 0, %8$s) as n from nearest n
        )
        select json_build_object(%9$s), (n.vector%10$s operator(%11$s.<=>) $1::%11$s.vector)::float8 as distance, %12$s, n.document,
               jsonb_build_object(''n'', $4 + n.n, ''distance'', n.place, ''key'',
                   (select jsonb_object_agg(f.key, case json_typeof(f.value) when ''number'' then to_jsonb(f.value #>> ''{}'') else f.value::jsonb end)
                    from json_each(json_build_object(%9$s)) f))
        from page n where n.n > $3 and n.n <= $2::bigint + $3 order by distance, %8$s',
        sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, t), '%3$s as k%1$s'), vector,
        (select string_agg(format(', %s as c%s', sidecar_internal.found_column(w.relation, t, c.name), c.n), '' order by c.n) from unnest(columns) with ordinality c(name, n)),
        case when cardinality(document) > 0 then
            format('concat_ws('' '', %s)', (select string_agg(format('%s.%I', t, c), ', ') from unnest(document) c)) else 'null::text' end,
        measure, tables, condition || beyond, keys, sidecar_internal.key_fields(w, 'n'), case w.storage when 'vector' then '' else format('::%s.vector', ext) end, ext,
        case when shown is null then '''{}''::json'
             else format('(select json_object_agg(v.name, v.value) from (values %s) v(name, value))', shown) end, rows_to_read);
end $$;

-- A page of the rows of a watch that are nearest to a vector, nearest first, with the columns that the watch exposes.
--   relation, target  the watch; target may be left out where the table has one
--   filter            of key and exposed columns: see filters.sql
--   columns           which of the exposed columns; unset: all of them
--   document          columns whose text comes along, joined with a space: exposed ones, or the watch's own source
--   skip              how many rows to leave out
--   after             the place of the row of the page before that has the greatest n: {"n": 10, "distance": 0.25, "key": {"id": "7"}}
-- Through the index, which is scanned until enough rows are found, or as many read as its method allows (hnsw.max_scan_tuples). No row comes twice in the pages of one
-- query, unless it changes, or, by `skip` through an IVFFlat index, after the fourth page; a row that the index overlooked in one is not made up for in a later one.
create or replace function sidecar.search_page(
    relation regclass, query_vector real[], target text default null, k integer default 10, filter jsonb default '{}',
    columns text[] default null, document text[] default '{}', skip integer default 0, after jsonb default null
) returns table (key json, distance double precision, shown json, document_text text, place jsonb)
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp as $$
declare
    former jsonb;
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    wanted constant text[] := coalesce(columns, sidecar_internal.exposed_columns(w));
    before constant bigint := coalesce((after->>'n')::bigint, 0);
    depth constant bigint := before + coalesce(skip, 0) + coalesce(k, 0);
begin
    if k is null or k < 1 then
        raise exception 'k is %', coalesce(k::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Give the number of rows, for example 10.';
    elsif skip is null or skip < 0 then
        raise exception 'skip is %', coalesce(skip::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Give the number of rows to leave out, for example 10.';
    elsif depth > 100000 then
        raise exception 'the page ends at row % of the search', depth
            using errcode = 'program_limit_exceeded', hint = 'Pages end at row 100000. A filter narrows the search.';
    elsif after is not null and not coalesce(jsonb_typeof(after->'distance') = 'number' and after->'key' ?& w.key_columns and before >= 0, false) then
        raise exception 'after is %, which is not the place of a row', after using errcode = 'invalid_parameter_value', column = 'after',
            hint = 'Give the place of the row with the greatest n of the page before.';
    end if;
    perform sidecar_internal.check_shown(array[w], wanted, document);
    -- Not strict, because the statement sorts what was found: measured with a filter that 1 of 200 rows meets (ef_search = 40),
    -- strict_order finds 79 % of the nearest, this 94 %, and no iteration 3 %.
    former := sidecar_internal.prepare_scan(w, false, 2 * depth, 20 * depth);
    return query execute sidecar_internal.search_page_statement(w, wanted, filter, document, after is not null)
        using query_vector, k, skip, before, (after->>'distance')::float8, sidecar_internal.numbered_key(w, after->'key');
    perform sidecar_internal.apply_settings(former);
end $$;
comment on function sidecar.search_page is
    'A page of the rows nearest to a vector: those after `skip` rows, or after the place of a row, with the columns that the watch '
    'exposes, filtered by key and exposed columns.';
