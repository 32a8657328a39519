-- Filters that an API key forces on every search with it, where a caller names rows by their keys.

-- The places in `keys`, from 1, of the rows that pass the filter; see row_vectors and filters.sql. By the primary key. Reads only.
create or replace function sidecar_internal.keys_passing(relation regclass, target text, keys jsonb[], filter jsonb) returns table (n bigint)
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp as $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    numbered constant text := (select string_agg(format('%L, k.key->%L', 'k' || i, w.key_columns[i]), ', ' order by i) from generate_subscripts(w.key_columns, 1) i);
begin
    return query execute format('select k.n from unnest($1) with ordinality k(key, n) cross join lateral %s join %s t on %s where true%s',
        sidecar_internal.typed_key(w, format('jsonb_build_object(%s)', numbered)), w.relation,
        sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = r.k%1$s', ' and '),
        sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_columns(w)))
        using keys;
end $$;
