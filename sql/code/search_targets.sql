-- A search of several targets of one table at once: the nearest rows of each, merged by reciprocal rank fusion.

-- The active watches of these targets, in their order. Raises for targets that do not exist or are named twice, and for vectors of several
-- models: a query vector means something among those of its own model only.
create or replace function sidecar_internal.watches_of_targets(relation regclass, targets text[]) returns sidecar_internal.watches[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    most constant integer := 8;
    named constant integer := coalesce(cardinality(targets), 0);
    found sidecar_internal.watches[];
    twice text;
    model record;
    other record;
begin
    if named not between 1 and most or exists (select from unnest(targets) t(name) where t.name is null) then
        raise exception '%', case when named between 1 and most then 'a target is NULL' else format('%s targets are named', named) end
            using errcode = 'invalid_parameter_value',
                  hint = format('Name 1 to %s vector columns of the table: targets => array[''photo_embedding'', ''title_embedding''].', most);
    end if;
    select t.name into twice from unnest(targets) t(name) group by t.name having count(*) > 1 limit 1;
    if twice is not null then
        raise exception 'target % is named twice', quote_literal(twice) using errcode = 'invalid_parameter_value', hint = 'Name it once; a weight makes it count for more.';
    end if;
    found := array(select sidecar_internal.get_watch(relation, t.name) from unnest(targets) with ordinality t(name, n) order by t.n);
    select w.target, w.fingerprint, w.dimensions into model from unnest(found) w order by w.fingerprint is null limit 1;
    select w.target into other from unnest(found) w where w.dimensions <> model.dimensions or w.fingerprint <> model.fingerprint limit 1;
    if other is not null then
        raise exception 'targets % and % hold vectors of two models', quote_literal(model.target), quote_literal(other.target)
            using errcode = 'invalid_parameter_value', hint = 'Search them one by one, each with a query vector of its own model.';
    end if;
    return found;
end $$;

-- The statement of search_targets. $1 query vector, $2 weights, $3 candidates, $4 RRF constant, $5 k. Each target is searched through its own index.
-- The rows that come first are read again by their keys, for their columns and for the distances of the stored vectors, also of targets
-- that did not propose them. Scores are sums in the order of the targets, and equal ones are ordered by key: the same data gives the
-- same answer.
create or replace function sidecar_internal.search_targets_statement(watches sidecar_internal.watches[], filter jsonb, columns text[], document text[]) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    w constant sidecar_internal.watches := watches[1];
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    condition constant text := sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_by_all(watches));
    keys constant text := sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s');
    row_key constant text[] := sidecar_internal.exact_keys(w, w.relation, 't');
    targets constant text[] := array(select x.target from unnest(watches) with ordinality x order by x.ordinality);
    rankings constant text[] := array(select sidecar_internal.nearest_ranking(watches[i], condition) from generate_subscripts(watches, 1) i order by i);
    vectors constant text[] := array(
        select format('sidecar_internal.exactly(null::%s, %s.%I)', sidecar_internal.stored_type(watches[i]),
                      case when watches[i].companion is null then 't' else 'h' || i end, watches[i].target)
        from generate_subscripts(watches, 1) i order by i);
    companions constant text := (
        select string_agg(format(' left join %s h%s on %s', watches[i].companion, i, sidecar_internal.for_each_key(
                   sidecar_internal.exact_keys(watches[i], watches[i].companion, 'h' || i), row_key, '%3$s = %2$s', ' and ')), '' order by i)
        from generate_subscripts(watches, 1) i where watches[i].companion is not null);
    found constant text := (
        select string_agg(format(', %s as c%s', sidecar_internal.found_column(w.relation, 't', c.name), c.n), '' order by c.n)
        from unnest(columns) with ordinality c(name, n));
    shown constant text := (
        select string_agg(format('(%L, %s)', c.name, sidecar_internal.shown_value(w.relation, c.name, 'n.c' || c.n)), ', ' order by c.n)
        from unnest(columns) with ordinality c(name, n));
begin
    return format('
        with %1$s,
        ranked as materialized (
            select p.*, %2$s as score
            from (select %3$s, %4$s from (%5$s) u group by %3$s) p order by score desc, %3$s limit $5
        )
        select json_build_object(%6$s), n.score, least(%7$s), json_build_object(%8$s), json_build_object(%9$s), %10$s, n.document
        from (select %11$s, r.score, %12$s, %13$s%14$s, %15$s as document from ranked r join %16$s t on %17$s%18$s) n
        order by n.score desc, %19$s',
        sidecar_internal.for_each_key(targets, rankings, 'near%1$s as (%3$s)'),
        sidecar_internal.for_each_key(targets, null, 'coalesce($2[%1$s] / ($4 + p.place%1$s), 0)', ' + '), keys,
        sidecar_internal.for_each_key(targets, null, 'min(u.place) filter (where u.n = %1$s) as place%1$s'),
        sidecar_internal.for_each_key(targets, null, 'select ' || keys || ', %1$s as n, place from near%1$s', ' union all '),
        sidecar_internal.key_fields(w, 'n'), sidecar_internal.for_each_key(targets, null, 'n.distance%1$s'),
        sidecar_internal.for_each_key(targets, null, '%2$L, n.distance%1$s'), sidecar_internal.for_each_key(targets, null, '%2$L, n.place%1$s'),
        case when shown is null then '''{}''::json' else format('(select json_object_agg(v.name, v.value) from (values %s) v(name, value))', shown) end,
        sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s as k%1$s'), sidecar_internal.for_each_key(targets, null, 'r.place%1$s'),
        sidecar_internal.for_each_key(targets, vectors, format('nullif((%%3$s::%1$s.vector operator(%1$s.<=>) $1::%1$s.vector)::float8, ''NaN'') as distance%%1$s', ext)),
        found, case when cardinality(document) > 0 then
            format('concat_ws('' '', %s)', (select string_agg(format('t.%I', c), ', ') from unnest(document) c)) else 'null::text' end,
        w.relation, sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s = r.k%1$s', ' and '), companions,
        sidecar_internal.for_each_key(w.key_columns, null, 'n.k%1$s'));
end $$;

-- The rows of a table that are nearest in several of its targets, best first.
--   query_vector      as text, '[0.1, ...]', of the model of the targets; anything else is embedded as sidecar.embed does it
--   targets           up to 8 vector columns of the table, which have a watch each
--   filter            of key and exposed columns: see filters.sql
--   columns           which of the columns that all of these watches expose; unset: all of them
--   document          columns whose text comes along, joined with a space: exposed ones, or the source of one of the watches
--   weights           of the targets, in their order; unset: 1 each
--   candidates        how many rows each target proposes; unset: four times k, at least 100
-- A row gets weight / (rrf_constant + rank) from each target that proposes it. `ranks` has its place there, `distances` the cosine distance in
-- each target, both by the names of the targets, NULL where there is none; `distance` is the least of them.
create or replace function sidecar.search_targets(
    relation regclass, query_vector text, targets text[], k integer default 10, filter jsonb default '{}', columns text[] default null,
    document text[] default '{}', weights double precision[] default null, candidates integer default null, rrf_constant integer default 60
) returns table (key json, score double precision, distance double precision, distances json, ranks json, shown json, document_text text)
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp as $$
declare
    former jsonb := '{}';
    searched sidecar_internal.watches;
    watches constant sidecar_internal.watches[] := sidecar_internal.watches_of_targets(relation, targets);
    wanted constant text[] := coalesce(columns, sidecar_internal.exposed_by_all(watches));
    -- Numbered from 1, in one dimension, whatever the caller's array is.
    weighted constant double precision[] := case when weights is null then array_fill(1::double precision, array[cardinality(targets)])
        else array(select x.weight from unnest(weights) with ordinality x(weight, n) order by x.n) end;
    proposed constant bigint := coalesce(candidates, greatest(4 * k::bigint, 100));
    embedded constant sidecar_internal.watches := (select x from unnest(watches) x order by x.fingerprint is null limit 1);
    nearest_to text := query_vector;
begin
    if k is null or k < 1 or proposed < 1 or rrf_constant is null or rrf_constant < 0 then
        raise exception 'k and candidates must be 1 or more, rrf_constant 0 or more' using errcode = 'invalid_parameter_value',
            hint = format('They are %s, %s and %s.', coalesce(k::text, 'NULL'), coalesce(candidates::text, 'unset'), coalesce(rrf_constant::text, 'NULL'));
    elsif cardinality(weighted) <> cardinality(targets) or exists (select from unnest(weighted) x(weight) where (x.weight >= 0 and x.weight < 'infinity') is not true) then
        raise exception 'weights are %, of % targets', weighted, cardinality(targets) using errcode = 'invalid_parameter_value',
            hint = 'Give a weight of 0 or more for each target: weights => array[1, 0.5].';
    elsif 0 = all (weighted) then
        raise exception 'all weights are 0' using errcode = 'invalid_parameter_value', hint = 'Rows come in the order of their weighted ranks: give a target more than 0.';
    end if;
    perform sidecar_internal.check_shown(watches, wanted, document);
    if query_vector !~ '^\s*\[[-+0-9.eE,\s]*\]\s*$' then
        nearest_to := sidecar_internal.embed_in_statement(sidecar_internal.query_model_of(embedded), 'text', convert_to(query_vector, 'UTF8'), 10000);
    end if;
    -- As in search_page, but strict: the places are counted in the order of the index. Targets may have indexes of several methods.
    foreach searched in array watches loop
        former := sidecar_internal.prepare_scan(searched, true, proposed, 20 * proposed) || former;
    end loop;
    return query execute sidecar_internal.search_targets_statement(watches, filter, wanted, document)
        using nearest_to, weighted, proposed, rrf_constant, k;
    perform sidecar_internal.apply_settings(former);
end $$;
comment on function sidecar.search_targets is
    'The rows that are nearest to a vector, or to a text, in several vector columns of a table, best first: the nearest rows of each, merged '
    'by reciprocal rank fusion, with the columns that all of these watches expose.';
