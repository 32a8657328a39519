-- The extension pgvector: its schema, and whether it is new enough.

-- The schema that pgvector is installed in. Raises if it is missing or older than the halfvec index casts that we rely on.
-- Of a version only the numbers count: AlloyDB's pgvector is called 0.8.0.google-4.
create or replace function sidecar_internal.vector_schema() returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    found_schema text;
    found_version text;
begin
    select n.nspname, e.extversion into found_schema, found_version
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector';
    if found_schema is null then
        raise exception 'the pgvector extension is not installed in database "%"', current_database()
            using errcode = 'undefined_object', hint = case
                when exists (select from pg_available_extensions a where a.name = 'vector') then 'Run: create extension vector;'
                else format('Install it on the server, for example: apt-get install postgresql-%s-pgvector; then run: create extension vector;',
                            current_setting('server_version_num')::integer / 10000) end;
    elsif string_to_array(substring(found_version from '^[0-9]+(?:[.][0-9]+)*'), '.')::int[] < array[0, 8, 0] then
        raise exception 'pgvector % is too old: 0.8.0 or newer is needed', found_version
            using errcode = 'feature_not_supported', hint = 'Install a newer pgvector, then: alter extension vector update;';
    end if;
    return found_schema;
end $$;

-- Why no vector can be stored or compared, and what to run; NULL if all is well.
create or replace function sidecar_internal.pgvector_fault() returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    remedy text;
begin
    perform sidecar_internal.vector_schema();
    return null;
exception when undefined_object or feature_not_supported then
    get stacked diagnostics remedy = pg_exception_hint;
    return sqlerrm || '. ' || remedy;
end $$;

-- Warns of versions whose HNSW indexes are known to break under VACUUM (fixed in 0.8.3 and 0.8.4).
create or replace function sidecar_internal.warn_of_old_pgvector() returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    version text := (select e.extversion from pg_extension e where e.extname = 'vector');
begin
    if string_to_array(substring(version from '^[0-9]+(?:[.][0-9]+)*'), '.')::int[] < array[0, 8, 4] then
        raise warning 'pgvector % has known faults in HNSW indexes', version
            using hint = 'Install 0.8.4 or newer, then: alter extension vector update;';
    end if;
end $$;

-- How a column of pgvector's stores its vectors: 'vector' (4 bytes a number) or 'halfvec' (2 bytes). NULL for any other column, for
-- none, and without the extension.
create or replace function sidecar_internal.storage_of(relation regclass, column_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select t.typname::text from pg_attribute a
        join pg_type t on t.oid = a.atttypid and t.typname in ('vector', 'halfvec')
        join pg_extension e on e.extname = 'vector' and e.extnamespace = t.typnamespace
        where a.attrelid = storage_of.relation and a.attname = storage_of.column_name and not a.attisdropped;
$$;

-- The type of a watch's vectors as they are stored, quoted: public.halfvec.
create or replace function sidecar_internal.stored_type(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('%I.%I', sidecar_internal.vector_schema(), w.storage);
$$;

-- The type that searches compare, which is the index's: its name, and whether a stored vector has to be cast to it.
create or replace function sidecar_internal.compared_type(w sidecar_internal.watches, out name text, out is_cast boolean)
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case w.index_kind when 'none' then w.storage else w.index_kind end, w.index_kind not in ('none', w.storage);
$$;
