-- How searches scan the index of a watch: the settings of its method, for a transaction.

-- The setting by which a search through an index of this method finds more and takes longer. NULL: the method has none that is a
-- number, or it is not known to us. A watch without an index counts as one with HNSW, as its owner's own index may be.
create or replace function sidecar_internal.scan_setting(w sidecar_internal.watches) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case w.index_method when 'hnsw' then 'hnsw.ef_search' when 'ivfflat' then 'ivfflat.probes' end;
$$;

-- The session's value of a setting of pgvector. current_setting gives NULL before pgvector's library is loaded, and '' after a failed
-- transaction that set it.
create or replace function sidecar_internal.session_setting(name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(nullif(current_setting(name, true), ''),
                    case name when 'hnsw.ef_search' then '40' when 'hnsw.max_scan_tuples' then '20000' when 'ivfflat.probes' then '1' else 'off' end);
$$;

-- The number of lists of an IVFFlat index on the vectors of a watch, of several the largest. NULL if there is none. Of any index that Postgres may
-- scan: the former one serves until the new one is built. In PL/pgSQL, which caches its plan: every search calls this.
create or replace function sidecar_internal.lists_of(w sidecar_internal.watches) returns integer
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    top constant regclass := coalesce(w.companion, w.relation);
    method constant oid := (select am.oid from pg_am am where am.amname = 'ivfflat');
    vector_tables oid[] := array[top];
    vector_table oid;
    lists integer;
begin
    if method is null then
        return null;
    end if;
    if (select c.relkind = 'p' from pg_class c where c.oid = top) then
        vector_tables := array(select t.home from sidecar_internal.tree_of(top) t where t.is_leaf);
    end if;
    -- Table by table, and the rest for IVFFlat indexes only: joins to all of pg_class and pg_depend would take 4 ms.
    foreach vector_table in array vector_tables loop
        lists := greatest(lists, (
            select max(coalesce((select sidecar_internal.read_number(o.option_value) from pg_options_to_table(x.reloptions) o where o.option_name = 'lists'), 100))
                from pg_index i
                cross join lateral (select c.reloptions from pg_class c where c.oid = i.indexrelid and c.relam = method offset 0) x
                where i.indrelid = vector_table and i.indisvalid and exists (
                    select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid and d.refobjid = i.indrelid
                        and d.refobjsubid = (select a.attnum from pg_attribute a where a.attrelid = vector_table and a.attname = w.target))));
    end loop;
    return lists;
end $$;

-- Has searches scan the index until they have enough rows that meet their filter, and returns the former settings for
-- apply_settings. Not as settings of a function, which only a superuser could restore from a dump. Those of HNSW and of IVFFlat: the
-- planner takes whichever index it finds, and beside the one that the watch asks for that may be its former one or a user's own.
--   is_strict   in the order of distance; else nearly so, which finds more. IVFFlat scans only nearly so
--   ef_search, max_scan_tuples   the least for an HNSW index; NULL leaves them to the session
-- Of an IVFFlat index at least the square root of its lists are read, as pgvector recommends; its own default is one list. Other
-- methods scan as the session has set them.
create or replace function sidecar_internal.prepare_scan(
    w sidecar_internal.watches, is_strict boolean, ef_search bigint default null, max_scan_tuples bigint default null) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    lists constant integer := sidecar_internal.lists_of(w);
    wanted jsonb := jsonb_build_object('hnsw.iterative_scan', case when is_strict then 'strict_order' else 'relaxed_order' end);
    former jsonb;
begin
    if ef_search is not null then
        wanted := wanted || jsonb_build_object(
            'hnsw.ef_search', least(greatest(ef_search, 100, sidecar_internal.read_number(sidecar_internal.session_setting('hnsw.ef_search'))), 1000),
            'hnsw.max_scan_tuples', least(greatest(max_scan_tuples, 20000), 2147483647));
    end if;
    if lists is not null then
        wanted := wanted || jsonb_build_object('ivfflat.iterative_scan', 'relaxed_order', 'ivfflat.probes',
            greatest(ceil(sqrt(lists))::integer, sidecar_internal.read_number(sidecar_internal.session_setting('ivfflat.probes'))));
    end if;
    select coalesce(jsonb_object_agg(s.key, sidecar_internal.session_setting(s.key)), '{}') into former from jsonb_each_text(wanted) s;
    perform sidecar_internal.apply_settings(wanted);
    return former;
end $$;

-- Sets settings for the rest of the transaction: name -> value.
create or replace function sidecar_internal.apply_settings(settings jsonb) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config(s.key, s.value, true) from jsonb_each_text(settings) s;
end $$;
