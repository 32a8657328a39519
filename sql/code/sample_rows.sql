-- A sample of the rows of a watch with their vectors, for GET /map.

-- Up to `at_most` rows with a vector, from all over the table, in no order: the key as searches return it, the first 200 characters of the exposed
-- columns that are no bytes, and the vector in the binary format of pgvector's type `vector`.
--   filter  of key and exposed columns; rows that do not pass it appear not to exist
-- Reads about twice as many rows as it returns, and with a filter up to 20 times as many; no index.
create or replace function sidecar_internal.sample_rows(relation regclass, target text, at_most integer, filter jsonb default '{}')
returns table (key json, label text, vector bytea)
language plpgsql volatile rows 1000 set search_path = pg_catalog, pg_temp as $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    vector_table constant regclass := coalesce(w.companion, w.relation);
    condition constant text := sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_columns(w));
    row_key constant text[] := sidecar_internal.exact_keys(w, w.relation, 't');
    sampled constant text := format('tablesample bernoulli (%s)', least(100, case when condition = '' then 200.0 else 2000.0 end * greatest(at_most, 100)
        / greatest((sidecar_internal.count_rows(vector_table, false)).n, 1)));
    tables constant text := case when w.companion is null then format('%s t %s', w.relation, sampled)
        else format('%s h %s join %s t on %s', w.companion, sampled, w.relation, sidecar_internal.for_each_key(
             sidecar_internal.exact_keys(w, w.companion, 'h'), row_key, '%3$s = %2$s', ' and ')) end;
    vector constant text := format('sidecar_internal.exactly(null::%s, %s.%I)', sidecar_internal.stored_type(w), case when w.companion is null then 't' else 'h' end, w.target);
    shown constant text := (
        select string_agg(sidecar_internal.found_column(w.relation, 't', e.name), ', ' order by e.n) from unnest(sidecar_internal.exposed_columns(w)) with ordinality e(name, n)
        join pg_attribute a on a.attrelid = w.relation and a.attname = e.name cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b where b.type <> 'bytea'::regtype);
begin
    return query execute format('
        select json_build_object(%1$s), s.label, %2$s.vector_send(s.v::%2$s.vector)
        from (select %3$s, %4$s as label, %5$s as v from %6$s where %5$s is not null%7$s order by random() limit $1) s',
        sidecar_internal.key_fields(w, 's'), ext, sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s as k%1$s'),
        case when shown is null then 'null::text' else format('left(concat_ws('', '', %s), 200)', shown) end, vector, tables, condition)
        using at_most;
end $$;
