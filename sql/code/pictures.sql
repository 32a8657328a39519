-- The picture of one row, for GET /thumbnail.

-- The row with this key: where it is and who wrote it, which changes with each update; how long its picture is, NULL if there is none; and
-- the picture, if it has at most `max_bytes`. No row if there is none, if it does not pass the filter, or with `only_failed` if it did not fail.
--   key     object of key column -> value, in the columns' own types
--   filter  of key and exposed columns
-- By the primary key. Reads only; the length is known without reading the picture. A column of another type than bytea has no pictures, and is
-- not cast: its owner may have made the cast, which would run with the rights of the sidecar.
create or replace function sidecar_internal.picture_of(relation regclass, target text, key jsonb, filter jsonb, only_failed boolean, max_bytes bigint)
returns table (version text, bytes bigint, picture bytea)
language plpgsql stable rows 1 set search_path = pg_catalog, pg_temp as $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    row_key constant text[] := sidecar_internal.exact_keys(w, w.relation, 't');
    picture constant text := (
        select sidecar_internal.found_column(w.relation, 't', w.source[1]) from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        where a.attrelid = w.relation and a.attname = w.source[1] and a.attnum > 0 and not a.attisdropped and b.type = 'bytea'::regtype);
begin
    if w.kind <> 'image' or picture is null or (only_failed and not exists (
        select from sidecar_internal.failures d where d.watch_id = w.id and d.key = sidecar_internal.failure_key(sidecar_internal.canonical_key(w, picture_of.key)))) then
        return;
    end if;
    return query execute format('select f.version, octet_length(f.picture)::bigint, case when octet_length(f.picture) <= $2 then f.picture end
                                 from (select concat_ws('':'', t.tableoid, t.ctid, t.xmin) as version, (%s)::bytea as picture from %s join %s t on %s%s) f',
        picture, sidecar_internal.typed_key(w, '$1'), w.relation,
        sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s = r.k%1$s', ' and '),
        sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_columns(w)))
        using sidecar_internal.numbered_key(w, key), max_bytes;
end $$;
