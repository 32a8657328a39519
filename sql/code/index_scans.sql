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

-- The number of lists of an IVFFlat index of a watch, of several the largest; 100 is pgvector's default.
create or replace function sidecar_internal.lists_of(w sidecar_internal.watches) returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(max(o.option_value::integer), 100)
        from sidecar_internal.tree_of(coalesce(w.companion, w.relation)) t
        cross join lateral sidecar_internal.usable_indexes(w, t.home) u
        join pg_class c on c.oid = u.index
        cross join lateral pg_options_to_table(c.reloptions) o
        where t.is_leaf and o.option_name = 'lists';
$$;

-- Has searches scan the index until they have enough rows that meet their filter, and returns the former settings for
-- apply_settings. Not as settings of a function, which only a superuser could restore from a dump.
--   is_strict   in the order of distance; else nearly so, which finds more. IVFFlat scans only nearly so
--   ef_search, max_scan_tuples   the least for an HNSW index; NULL leaves them to the session
-- Of an IVFFlat index at least the square root of its lists are read, as pgvector recommends; its own default is one list. Other
-- methods scan as the session has set them.
create or replace function sidecar_internal.prepare_scan(
    w sidecar_internal.watches, is_strict boolean, ef_search bigint default null, max_scan_tuples bigint default null) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    wanted jsonb := '{}';
    former jsonb;
begin
    if w.index_method = 'hnsw' then
        wanted := jsonb_build_object('hnsw.iterative_scan', case when is_strict then 'strict_order' else 'relaxed_order' end);
        if ef_search is not null then
            wanted := wanted || jsonb_build_object(
                'hnsw.ef_search', least(greatest(ef_search, 100, sidecar_internal.session_setting('hnsw.ef_search')::bigint), 1000),
                'hnsw.max_scan_tuples', least(greatest(max_scan_tuples, 20000), 2147483647));
        end if;
    elsif w.index_method = 'ivfflat' then
        wanted := jsonb_build_object('ivfflat.iterative_scan', 'relaxed_order', 'ivfflat.probes',
            greatest(ceil(sqrt(sidecar_internal.lists_of(w)))::integer, sidecar_internal.session_setting('ivfflat.probes')::integer));
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
