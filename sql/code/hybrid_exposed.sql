-- POST /search with `hybrid`: what hybrid_search finds, over exposed columns only, and with the columns that the watch exposes.

-- The tsvector expression that is searched: search_document's, so that the same GIN indexes serve, of columns that must still be of
-- their type; see exactly. Raises for columns that are not exposed, and for those that are no text.
create or replace function sidecar_internal.exposed_document(w sidecar_internal.watches, columns text[], config regconfig) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    wrong record;
begin
    select c.name, b.type = 'tsvector'::regtype as is_tsvector into wrong
        from unnest(columns) with ordinality c(name, n)
        left join pg_attribute a on a.attrelid = w.relation and a.attname = c.name and a.attnum > 0 and not a.attisdropped
            and c.name = any (w.key_columns || w.expose)
        left join lateral sidecar_internal.base_type(a.atttypid, a.atttypmod) b on a.attname is not null
        where b.type is null or not (b.type = any (array['text', 'varchar', 'bpchar']::regtype[])
                                     or (b.type = 'tsvector'::regtype and cardinality(columns) = 1))
        order by c.n limit 1;
    if found or coalesce(cardinality(columns), 0) = 0 then
        raise exception 'column % %', coalesce(quote_literal(wrong.name), 'NULL'),
                case when wrong.is_tsvector then 'is a tsvector, which is searched alone' else 'is no exposed text' end
            using errcode = 'wrong_object_type', column = 'hybrid.columns', hint = 'Name exposed text columns, or one exposed tsvector column.';
    end if;
    return (select case when bool_and(b.type = 'tsvector'::regtype) then string_agg(f.expression, '' order by c.n)
                   else format('to_tsvector(%L::regconfig, %s)', config, string_agg(format('coalesce(%s, '''')', f.expression), ' || '' '' || ' order by c.n)) end
            from unnest(columns) with ordinality c(name, n) join pg_attribute a on a.attrelid = w.relation and a.attname = c.name
            cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b cross join lateral (select sidecar_internal.found_column(w.relation, 't', c.name) as expression) f);
end $$;

-- The statement of hybrid_exposed. $1 to $7 as in hybrid_ranking. The rows that were ranked are read again by their keys, for their
-- columns and for the distances of the stored vectors, which rows found only by their text have too.
create or replace function sidecar_internal.hybrid_exposed_statement(
    w sidecar_internal.watches, ranking text, columns text[], document text[]) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    row_key constant text[] := sidecar_internal.exact_keys(w, w.relation, 't');
    companion constant text := case when w.companion is null then '' else format(' left join %s h on %s', w.companion, sidecar_internal.for_each_key(
        sidecar_internal.exact_keys(w, w.companion, 'h'), row_key, '%3$s = %2$s', ' and ')) end;
    shown constant text := (
        select string_agg(format('(%L, %s)', c.name, sidecar_internal.shown_value(w.relation, c.name, 'n.c' || c.n)), ', ' order by c.n)
        from unnest(columns) with ordinality c(name, n));
begin
    return format('
        with ranked as materialized (%1$s)
        select json_build_object(%2$s), (n.vector::%3$s.vector operator(%3$s.<=>) $1::%3$s.vector)::float8, %4$s, n.document,
               n.score, n.vector_rank, n.text_rank
        from (select %5$s, r.score, r.vector_rank, r.text_rank, sidecar_internal.exactly(null::%6$s, %7$s.%8$I) as vector%9$s, %10$s as document
              from ranked r join %11$s t on %12$s%13$s) n
        order by n.score desc, %14$s',
        ranking, sidecar_internal.key_fields(w, 'n'), ext,
        case when shown is null then '''{}''::json' else format('(select json_object_agg(v.name, v.value) from (values %s) v(name, value))', shown) end,
        sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s as k%1$s'), sidecar_internal.stored_type(w),
        case when w.companion is null then 't' else 'h' end, w.target,
        (select string_agg(format(', %s as c%s', sidecar_internal.found_column(w.relation, 't', c.name), c.n), '' order by c.n) from unnest(columns) with ordinality c(name, n)),
        case when cardinality(document) > 0 then
            format('concat_ws('' '', %s)', (select string_agg(format('t.%I', c), ', ') from unnest(document) c)) else 'null::text' end,
        w.relation, sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s = r.k%1$s', ' and '), companion,
        sidecar_internal.for_each_key(w.key_columns, null, 'n.k%1$s'));
end $$;

-- As hybrid_search, with the shown columns of search_exposed.
--   document      the exposed columns whose words are matched
--   shown_columns, shown_document   the columns to return, and those whose text comes along: see search_page, which checks them
-- Sets the settings of the index for the rest of the transaction.
create or replace function sidecar_internal.hybrid_exposed(
    relation regclass, target text, query_vector real[], query_text text, document text[], config text, k integer, filter jsonb,
    shown_columns text[], shown_document text[], candidates integer, rrf_constant integer, vector_weight double precision, text_weight double precision
) returns table (key json, distance double precision, shown json, document_text text, score double precision, vector_rank bigint, text_rank bigint)
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    proposed constant integer := coalesce(candidates, greatest(4 * k, 100));
    configuration regconfig;
begin
    begin
        select c.oid into configuration from pg_ts_config c where c.oid = config::regconfig;  -- which also reads numbers, of whatever
    exception when others then
        configuration := null;
    end;
    if configuration is null then
        raise exception 'there is no text search configuration %', quote_literal(config) using errcode = 'invalid_parameter_value', column = 'hybrid.config',
            hint = 'For example english, german or simple; one of your own with its schema. psql lists them: \dF';
    end if;
    -- As in search_exposed, but strict_order: the places by distance are counted in the order of the index.
    perform sidecar_internal.prepare_scan(w, true, proposed, 20 * proposed::bigint);
    return query execute sidecar_internal.hybrid_exposed_statement(w, sidecar_internal.hybrid_ranking(
            w, sidecar_internal.exposed_document(w, document, configuration),
            sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_columns(w))), shown_columns, shown_document)
        using query_vector, sidecar_internal.word_query(configuration, query_text), proposed, rrf_constant, vector_weight, text_weight, k;
end $$;
