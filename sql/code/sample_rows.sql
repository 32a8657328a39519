-- A sample of the rows of a watch with their vectors, for GET /map.

-- Up to `at_most` rows with a vector, from all over the table, in no order: the key as searches return it, the first 200 characters of the exposed
-- columns that are no bytes, and the vector in the binary format of pgvector's type `vector`.
--   filter  of key and exposed columns; rows that do not pass it appear not to exist
-- Reads pages that are drawn at random, as many as have 20 times the rows that are asked for, at least 5000: few of a large table's. No index, but the
-- key's where the vectors are in a companion.
create or replace function sidecar_internal.sample_rows(relation regclass, target text, at_most integer, filter jsonb default '{}')
returns table (key json, label text, vector bytea)
language plpgsql volatile rows 1000 set search_path = pg_catalog, pg_temp as $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    vector_table constant regclass := coalesce(w.companion, w.relation);
    condition constant text := sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_columns(w));
    row_key constant text[] := sidecar_internal.exact_keys(w, w.relation, 't');
    sampled constant text := format('tablesample system (%s)',
        least(100, 100.0 * greatest(20 * at_most, 5000) / greatest((sidecar_internal.count_rows(vector_table, false)).n, 1)));
    -- Of a companion no more rows are joined than have to be: the planner would read all of the watched table for thousands.
    drawn constant text := format('select %1$s, %2$I from %3$s %4$s where %2$I is not null order by random()%5$s', sidecar_internal.for_each_key(w.key_columns, null, '%2$I'),
        w.target, w.companion, sampled, case when condition = '' then format(' limit %s', 2 * at_most) end);
    tables constant text := case when w.companion is null then format('%s t %s', w.relation, sampled)
        else format('(%s) h join %s t on %s', drawn, w.relation, sidecar_internal.for_each_key(
             sidecar_internal.exact_keys(w, w.companion, 'h'), row_key, '%3$s = %2$s', ' and ')) end;
    vector constant text := format('sidecar_internal.exactly(null::%s, %s.%I)', sidecar_internal.stored_type(w), case when w.companion is null then 't' else 'h' end, w.target);
    shown constant text[] := array(
        select sidecar_internal.found_column(w.relation, 't', e.name) from unnest(sidecar_internal.exposed_columns(w)) with ordinality e(name, n)
        join pg_attribute a on a.attrelid = w.relation and a.attname = e.name cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        where b.type <> 'bytea'::regtype order by e.n);
begin
    return query execute format('
        select json_build_object(%1$s), %4$s, %2$s.vector_send(s.v::%2$s.vector)
        from (select %3$s, %5$s as v%6$s from %7$s where %5$s is not null%8$s order by random() limit $1) s',
        sidecar_internal.key_fields(w, 's'), ext, sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s as k%1$s'),
        coalesce((select format('left(concat_ws('', '', %s), 200)', string_agg(format('s.c%s', c.n), ', ' order by c.n)) from unnest(shown) with ordinality c(_, n) having count(*) > 0),
                 'null::text'), vector,
        (select string_agg(format(', %s as c%s', c.expression, c.n), '' order by c.n) from unnest(shown) with ordinality c(expression, n)), tables, condition)
        using at_most;
end $$;
