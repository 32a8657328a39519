-- Search in SQL: the nearest vectors, and hybrid search: merged with the best full-text matches by reciprocal rank fusion.

-- The rows nearest to a vector or a text: keys and cosine distances (0 to 2), nearest first. Through the index, which is scanned
-- until k rows that meet the filter are found. `query_vector` is the text of a vector, '[0.1, ...]', so that this works in whichever schema pgvector is
-- installed; anything else is embedded as sidecar.embed does it.
create or replace function sidecar.search(relation regclass, query_vector text, filter jsonb, target text default null, k integer default 10)
returns table (key jsonb, distance double precision)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    former jsonb;
    w sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    ext text := quote_ident(sidecar_internal.vector_schema());
    compared constant record := sidecar_internal.compared_type(w);
    type text := format('%s.%s(%s)', ext, compared.name, w.dimensions);
    vector_table constant regclass := coalesce(w.companion, w.relation);
    vector_key constant text[] := sidecar_internal.exact_keys(w, vector_table, 'h');
    row_name constant text := case when w.companion is null then 'h' else 't' end;
    condition constant text := sidecar_internal.filter_condition(w, filter, row_name);
    nearest_to text := query_vector;
    measure text := format('sidecar_internal.exactly(null::%s, h.%I)%s operator(%s.<=>) $1::%s', sidecar_internal.stored_type(w), w.target, case when compared.is_cast then '::' || type else '' end, ext, type);
begin
    if search.k is null or search.k < 1 then
        raise exception 'k is %', coalesce(search.k::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Give the number of rows, for example 10.';
    elsif query_vector !~ '^\s*\[[-+0-9.eE,\s]*\]\s*$' then
        nearest_to := sidecar_internal.embed_in_statement(sidecar_internal.query_model_of(w), 'text', convert_to(query_vector, 'UTF8'), 10000);
    end if;
    former := sidecar_internal.prepare_scan(w, true);
    -- + 0: sorted again, because not every method gives rows strictly in order, and the planner believes that it does.
    return query execute format('select jsonb_build_object(%s), r.distance from (select %s, (%s)::float8 as distance from %s h where h.%I is not null%s
                                 order by %s limit $2) r order by r.distance + 0',
        sidecar_internal.key_fields(w, 'r'), sidecar_internal.for_each_key(w.key_columns, vector_key, '%3$s as k%1$s'), measure, vector_table, w.target,
        case when w.companion is not null then format(' and exists (select from %s t where %s%s)', w.relation,
            sidecar_internal.for_each_key(vector_key, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and '), condition) else condition end, measure)
        using nearest_to, k;
    perform sidecar_internal.apply_settings(former);
end $$;
comment on function sidecar.search(regclass, text, jsonb, text, integer) is
    'The k rows nearest to a vector, passed as text, or to a text, which is embedded as sidecar.embed does it, among those that meet '
    'a filter: keys and cosine distances (0 to 2), nearest first, through the index.';

-- Without a filter. A function of its own, because views that are made of it keep it from being dropped.
create or replace function sidecar.search(relation regclass, query_vector text, target text default null, k integer default 10)
returns table (key jsonb, distance double precision)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select s.key, s.distance from sidecar.search(relation, query_vector, '{}'::jsonb, target, k) s;
$$;
comment on function sidecar.search(regclass, text, text, integer) is
    'The k rows nearest to a vector, passed as text, or to a text, which is embedded as sidecar.embed does it: keys and cosine '
    'distances (0 to 2), nearest first, through the index.';

-- A row as an array of objects, for people to read (a function takes 100 arguments, so an object has 50 of the columns, in
-- their order). Without vectors; of a bytea only its length, {"bytes": 2048}. NULL if there is no row with this canonical key.
create or replace function sidecar_internal.show_row(w sidecar_internal.watches, key jsonb) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    shown json;
    fields text := (select string_agg(format('json_build_object(%s)', part.pairs), ', ' order by part.n) from (
        select (a.position - 1) / 50 as n, string_agg(format(case a.type when 'bytea' then '%1$L, case when t.%2$I is not null then json_build_object(''bytes'', octet_length(t.%2$I)) end'
                                                   else '%1$L, t.%2$I' end, a.attname, a.attname), ', ' order by a.position) as pairs
        from (select x.attname, b.printed as type, row_number() over (order by x.attnum) as position
              from pg_attribute x cross join sidecar_internal.base_type(x.atttypid, x.atttypmod) b join pg_type y on y.oid = b.type
              where x.attrelid = w.relation and x.attnum > 0 and not x.attisdropped
                and y.typname not in ('vector', 'halfvec', 'sparsevec')) a
        group by 1) part);
begin
    execute format('select array_to_json(array[%s]) from %s join %s t on %s', fields, sidecar_internal.typed_key(w, '$1'), w.relation,
                   sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = r.k%1$s', ' and '))
        into shown using sidecar_internal.numbered_key(w, key);
    return shown;
end $$;

-- The tsvector expression that is searched. A column of that type is used directly, so that its GIN index serves; text columns
-- are joined with a space, NULLs skipped, in the very expression of the GIN index that the documentation recommends.
create or replace function sidecar_internal.search_document(relation regclass, columns text[], config regconfig) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    missing text := (select c.name from unnest(columns) c(name)
                      where not exists (select from pg_attribute a where a.attrelid = relation and a.attname = c.name
                                        and a.attnum > 0 and not a.attisdropped) limit 1);
begin
    if missing is not null or coalesce(cardinality(columns), 0) = 0 or array_position(columns, null) is not null then
        raise exception 'table % has no column %', relation, coalesce(quote_literal(missing), 'NULL')
            using errcode = 'undefined_column', hint = sidecar_internal.did_you_mean_column(missing, relation)
                                                  || 'Name text columns, or one tsvector column: document => array[''title''].';
    elsif cardinality(columns) = 1 and exists (select from pg_attribute a where a.attrelid = relation and a.attname = columns[1]
                                               and a.atttypid = 'tsvector'::regtype) then
        return format('t.%I', columns[1]);
    end if;
    return (select format('to_tsvector(%L::regconfig, %s)', config,
                          string_agg(format('coalesce(t.%I, '''')', c.name), ' || '' '' || ' order by c.n))
            from unnest(columns) with ordinality c(name, n));
end $$;

-- The $3 rows nearest to $1: key columns k1, k2 ..., distance, and place, which equal distances share. Through the index of the target. Cut off
-- with ties and not by key, because Postgres 16 would not use the index with a second sort column. Sorted once more (+ 0): not every method
-- gives rows strictly in order.
create or replace function sidecar_internal.nearest_ranking(w sidecar_internal.watches, condition text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    tables constant text := w.relation || ' t'
        || case when w.companion is null then '' else format(' join %s e on %s', w.companion, sidecar_internal.for_each_key(
               sidecar_internal.exact_keys(w, w.companion, 'e'), sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and ')) end;
    vector constant text := format('sidecar_internal.exactly(null::%s, %s.%I)', sidecar_internal.stored_type(w), case when w.companion is null then 't' else 'e' end, w.target);
    compared constant record := sidecar_internal.compared_type(w);
    type constant text := format('%s.%s(%s)', ext, compared.name, w.dimensions);
    distance constant text := format('%s%s operator(%s.<=>) $1::%s', vector,
                                     case when compared.is_cast then '::' || type else '' end, ext, type);
begin
    return format('select n.*, rank() over (order by distance + 0) as place
                   from (select %s, %s as distance from %s where %s is not null and $1 is not null%s
                         order by distance fetch first ($3) rows with ties) n',
        sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s as k%1$s'), distance, tables, vector, condition);
end $$;

-- The ranking of hybrid_search: key columns k1, k2 ..., score, vector_rank, text_rank, distance. $1 query vector, $2 tsquery, $3
-- candidates, $4 RRF constant, $5 and $6 weights, $7 k. Equal values share a rank, and equal scores are ordered by key: the same data
-- gives the same answer.
create or replace function sidecar_internal.hybrid_ranking(w sidecar_internal.watches, document text, condition text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    keys constant text := sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s');
    key_columns constant text := sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s as k%1$s');
    matching constant text := format('select %1$s, ts_rank_cd(%2$s, $2) as relevance from %3$s t where %2$s @@ $2%4$s
                                      order by relevance desc, %5$s limit $3', key_columns, document, w.relation, condition, keys);
begin
    return format('
        with near as (%1$s),
             matching as (select m.*, rank() over (order by relevance desc) as place from (%2$s) m)
        select %3$s, coalesce($5 / ($4 + near.place), 0) + coalesce($6 / ($4 + matching.place), 0) as score,
               near.place as vector_rank, matching.place as text_rank, near.distance
        from near full join matching using (%3$s) order by score desc, %3$s limit $7', sidecar_internal.nearest_ranking(w, condition), matching, keys);
end $$;

-- The statement of hybrid_search, with the parameters of hybrid_ranking.
create or replace function sidecar_internal.hybrid_statement(w sidecar_internal.watches, document text, condition text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('select jsonb_build_object(%s), r.score, r.vector_rank, r.text_rank, r.distance from (%s) r order by r.score desc, %s',
                  sidecar_internal.key_fields(w, 'r'), sidecar_internal.hybrid_ranking(w, document, condition),
                  sidecar_internal.for_each_key(w.key_columns, null, 'r.k%1$s'));
$$;

-- A text in the syntax of web search engines as a tsquery; NULL if no words are left of it. A line of dashes is no operator: Postgres would
-- negate once for each dash, and raises 'tsquery stack too small' from 32 on.
create or replace function sidecar_internal.word_query(config regconfig, query_text text) returns tsquery
language sql stable set search_path = pg_catalog, pg_temp as $$
    select w.query from websearch_to_tsquery(config, regexp_replace(query_text, '-([[:space:]!&|()]*-){7,}', ' ', 'g')) w(query) where numnode(w.query) > 0;
$$;

-- The rows of a watched table that are near a vector, or match a text, best first.
--   relation, target  the watch; target may be left out where the table has one
--   query_vector      of a text or a picture, as the sidecar's REST service gives it; NULL: full text only
--   query_text        in the syntax of web search engines; blank, or stop words only: vectors only
--   document          a tsvector column, or text columns; unset: the watch's own text columns
--   filter            {"tenant": 7}, of any columns of the table: see filters.sql
--   candidates        how many rows each side proposes; unset: four times k, at least 100
-- A row gets weight / (rrf_constant + rank) from each side; `distance` is the cosine distance, NULL where only its text matched.
create or replace function sidecar.hybrid_search(
    relation regclass, query_vector vector, query_text text, target text default null, document text[] default null,
    k integer default 10, filter jsonb default '{}', config regconfig default 'pg_catalog.english', candidates integer default null,
    rrf_constant integer default 60, vector_weight double precision default 1, text_weight double precision default 1)
returns table (key jsonb, score double precision, vector_rank bigint, text_rank bigint, distance double precision)
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
    former jsonb;
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    words constant tsquery := sidecar_internal.word_query(config, query_text);
begin
    if k < 0 or candidates < 1 or rrf_constant < 0 then
        raise exception 'k must be 0 or more, candidates 1 or more, rrf_constant 0 or more' using errcode = 'invalid_parameter_value',
            hint = format('They are %s, %s and %s.', k, coalesce(candidates::text, 'unset'), rrf_constant);
    elsif vector_weight = 0 and text_weight = 0 then
        raise exception 'vector_weight and text_weight are both 0' using errcode = 'invalid_parameter_value',
            hint = 'Rows come in the order of their weighted ranks: give one of the two more than 0.';
    elsif w.kind <> 'text' and document is null then
        raise exception 'target % holds vectors of pictures, which have no text to match', quote_literal(w.target)
            using errcode = 'invalid_parameter_value', hint = 'Name text columns of the same table: document => array[''title''].';
    end if;
    former := sidecar_internal.prepare_scan(w, true);
    return query execute sidecar_internal.hybrid_statement(w, sidecar_internal.search_document(relation, coalesce(document, w.source), config),
                                                  sidecar_internal.filter_condition(w, filter, 't'))
        using query_vector, words, coalesce(candidates, greatest(4 * k::bigint, 100)), rrf_constant, vector_weight, text_weight, k;
    perform sidecar_internal.apply_settings(former);
end $$;
comment on function sidecar.hybrid_search is
    'The rows that are near a vector or match a text, best first: vector search and full-text search merged by reciprocal rank '
    'fusion. Runs with the rights of its caller.';
