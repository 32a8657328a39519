-- sidecar.recall: how much of an exact search the index finds.

-- Up to `sample` vectors of a watch as texts, from all over its table.
create or replace function sidecar_internal.sample_vectors(w sidecar_internal.watches, sample integer) returns setof text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    vector_table constant regclass := coalesce(w.companion, w.relation);
    rows constant bigint := greatest((sidecar_internal.count_rows(vector_table, false)).n, 1);
begin
    -- Twice as many are drawn as are wanted, since some rows have no vector; small tables are drawn whole.
    return query execute format('select x.v from (select h.%I::text as v from %s h tablesample bernoulli (%s) where h.%1$I is not null) x
                                 order by random() limit $1', w.target, vector_table, least(100, 200.0 * greatest(sample, 100) / rows)) using sample;
end $$;

-- The distances of the k rows that a search finds, nearest first: exactly, or in the order of the index, which may round vectors.
-- Either way they are those of the stored vectors.
create or replace function sidecar_internal.nearest_distances(w sidecar_internal.watches, through_index boolean, condition text, query_vector text, k integer)
returns double precision[] language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    compared constant record := sidecar_internal.compared_type(w);
    stored constant text := format('%s.%s(%s)', ext, w.storage, w.dimensions);
    type constant text := case when through_index then format('%s.%s(%s)', ext, compared.name, w.dimensions) else stored end;
    vector constant text := format(case when w.companion is null then 't.%I' else 'h.%I' end, w.target);
    tables constant text := case
        when w.companion is null then w.relation || ' t'
        when condition = '' then w.companion || ' h'
        else format('%s h join %s t on %s', w.companion, w.relation, sidecar_internal.for_each_key(
             sidecar_internal.exact_keys(w, w.companion, 'h'), sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and ')) end;
    distances double precision[];
begin
    execute format('select array(select (x.v operator(%1$s.<=>) $1::%2$s)::float8 from (
                        select %3$s as v from %4$s where %3$s is not null%5$s order by %3$s%6$s operator(%1$s.<=>) $1::%7$s limit $2) x order by 1)',
        ext, stored, vector, tables, condition, case when through_index and compared.is_cast then '::' || type else '' end, type)
        into distances using query_vector, k;
    return distances;
end $$;

-- Of the distances of an exact search, the share that a search through the index found, without the query itself, which is a row.
create or replace function sidecar_internal.found_share(exact double precision[], near double precision[], k integer) returns double precision
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if exact[1] < 1e-6 then
        exact := exact[2:];
        near := case when near[1] < 1e-6 then near[2:] else near end;
    end if;
    exact := exact[1:k];
    -- Rounding may put two rows of one distance in another order, or into another place.
    return (select count(*) from unnest(near[1:k]) f(distance) where f.distance <= exact[cardinality(exact)] + 1e-6)::float8
           / nullif(cardinality(exact), 0);
end $$;

-- The share of the k nearest rows that a search through the index finds, with rows of the table as queries: one line for each value
-- of hnsw.ef_search in `ef_search`, the session's if none is given. Ends with the first query that is done after max_s seconds.
create or replace function sidecar.recall(
    relation regclass, target text default null, k integer default 10, sample integer default 200, filter jsonb default '{}',
    ef_search integer[] default null, max_s double precision default 60)
returns table (ef integer, recall double precision, lowest double precision, queries bigint, index_ms double precision, exact_ms double precision)
language plpgsql volatile rows 5 set search_path = pg_catalog, pg_temp as $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    condition constant text := sidecar_internal.search_condition(filter);
    former_settings constant jsonb := (select jsonb_object_agg(s.name, coalesce(nullif(current_setting(s.name, true), ''), s.unset)) from (values
        ('enable_indexscan', 'on'), ('enable_seqscan', 'on'), ('hnsw.iterative_scan', 'off'), ('hnsw.ef_search', '40')) s(name, unset));
    efs constant integer[] := coalesce(recall.ef_search, array[(former_settings->>'hnsw.ef_search')::integer]);
    deadline constant timestamptz := clock_timestamp() + make_interval(secs => max_s);
    index_state constant text := sidecar_internal.index_of(w);
    vector text;
    exact double precision[];
    near double precision[];
    began timestamptz;
    took_ms double precision;
    measured jsonb := '[]';
begin
    if k is null or k not between 1 and 1000 or sample is null or sample not between 1 and 100000 then
        raise exception 'k is % and sample is %', coalesce(k::text, 'NULL'), coalesce(sample::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'k may be 1 to 1000, sample 1 to 100000.';
    elsif not exists (select from sidecar_internal.usable_indexes(w, coalesce(w.companion, w.relation)) u where u.valid) then
        raise exception 'there is no HNSW index on %.% to measure: %', w.relation, quote_ident(w.target), index_state
            using errcode = 'object_not_in_prerequisite_state', hint = 'Without an index every search is exact.';
    end if;
    perform sidecar_internal.check_filter(w, filter);
    perform set_config('hnsw.iterative_scan', 'strict_order', true);
    for vector in select v from sidecar_internal.sample_vectors(w, sample) v loop
        perform set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'on', true);
        began := clock_timestamp();
        exact := sidecar_internal.nearest_distances(w, false, condition, vector, k + 1);
        took_ms := 1000 * extract(epoch from clock_timestamp() - began);
        perform set_config('enable_indexscan', 'on', true), set_config('enable_seqscan', 'off', true);
        foreach ef in array efs loop
            perform set_config('hnsw.ef_search', ef::text, true);
            began := clock_timestamp();
            near := sidecar_internal.nearest_distances(w, true, condition, vector, k + 1);
            measured := measured || jsonb_build_object('ef', ef, 'share', sidecar_internal.found_share(exact, near, k),
                'index_ms', 1000 * extract(epoch from clock_timestamp() - began), 'exact_ms', took_ms);
        end loop;
        exit when clock_timestamp() > deadline;
    end loop;
    perform set_config(s.key, s.value, true) from jsonb_each_text(former_settings) s;
    return query select m.ef, avg(m.share), min(m.share), count(m.share),
                        percentile_cont(0.5) within group (order by m.index_ms), percentile_cont(0.5) within group (order by m.exact_ms)
        from jsonb_to_recordset(measured) m(ef integer, share double precision, index_ms double precision, exact_ms double precision)
        group by m.ef order by m.ef;
end $$;
comment on function sidecar.recall is
    'The share of the k nearest rows that a search through the HNSW index finds, measured against exact searches with rows of the '
    'table as queries, for each value of hnsw.ef_search; with the median time of both. An exact search reads the whole table.';
