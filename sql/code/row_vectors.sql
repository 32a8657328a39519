-- The stored vectors of rows named by their keys, for POST /search: "more like these rows", and diversity.

-- For each key of which there is a row: the key's place in `keys`, from 1, the key as searches return it, and the row's vector in the
-- binary format of pgvector's type `vector`, NULL if it has none yet.
--   keys    objects of key column -> value, in the columns' own types
--   filter  of key and exposed columns; rows that do not pass it appear not to exist
-- By the primary key. Reads only.
create or replace function sidecar_internal.row_vectors(relation regclass, target text, keys jsonb[], filter jsonb) returns table (n bigint, key json, vector bytea)
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp as $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    row_key constant text[] := sidecar_internal.exact_keys(w, w.relation, 't');
    numbered constant text := (select string_agg(format('%L, k.key->%L', 'k' || i, w.key_columns[i]), ', ' order by i) from generate_subscripts(w.key_columns, 1) i);
    companion constant text := case when w.companion is null then '' else format(' left join %s h on %s', w.companion, sidecar_internal.for_each_key(
        sidecar_internal.exact_keys(w, w.companion, 'h'), row_key, '%3$s = %2$s', ' and ')) end;
begin
    return query execute format('select f.n, json_build_object(%1$s), %2$s.vector_send(f.v::%2$s.vector)
                                 from (select k.n, %3$s, sidecar_internal.exactly(null::%4$s, %5$s.%6$I) as v
                                       from unnest($1) with ordinality k(key, n) cross join lateral %7$s join %8$s t on %9$s%10$s where true%11$s) f',
        sidecar_internal.key_fields(w, 'f'), ext, sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s as k%1$s'),
        sidecar_internal.stored_type(w), case when w.companion is null then 't' else 'h' end, w.target,
        sidecar_internal.typed_key(w, format('jsonb_build_object(%s)', numbered)), w.relation,
        sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s = r.k%1$s', ' and '), companion,
        sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_columns(w)))
        using keys;
end $$;
