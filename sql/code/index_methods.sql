-- The index that a watch asks for: its access method, the type of vector it is on, and its storage parameters.
--
-- A sidecar runs the statement that builds the index as the owner of the table, in a session of its own role, into which a
-- second statement could fall back. So no SQL of a user is kept, only names and values, each of which is quoted again.

-- The type that an index of this method is on unless the watch says otherwise. pgvector's own are smaller on halfvec, at the same
-- recall; diskann takes only vector.
create or replace function sidecar_internal.default_index_kind(method text, storage text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when method in ('hnsw', 'ivfflat') then 'halfvec' when method = 'diskann' then 'vector' else storage end;
$$;

-- A word that SQL reads as an identifier, as SQL reads it: case folded or without its quotes. NULL if it is none, or several.
create or replace function sidecar_internal.read_name(word text) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    names constant text[] := parse_ident(word);
begin
    return case when cardinality(names) = 1 then names[1] end;
exception when invalid_parameter_value then
    return null;
end $$;

-- Storage parameters as create index takes them after `with`, 'm = 24, ef_construction = 128', as an array like pg_class.reloptions. NULL if
-- they are anything else.
create or replace function sidecar_internal.read_index_options(options text) returns text[]
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when options ~ format(E'^\\s*%1$s(\\s*,\\s*%1$s)*\\s*$', o.one) then array(
            select lower(m.parts[1]) || '=' || case when m.parts[2] like '''%' then replace(substr(m.parts[2], 2, length(m.parts[2]) - 2), '''''', '''') else m.parts[2] end
            from regexp_matches(options, E'([a-zA-Z_]\\w*)\\s*=\\s*(''(?:[^'']|'''')*''|-?[\\w.]+)', 'g') m(parts)) end
        from (select E'[a-zA-Z_]\\w*\\s*=\\s*(?:''(?:[^'']|'''')*''|-?[\\w.]+)' as one) o;
$$;

-- The watch with its index taken apart: `index_kind` is what the caller of sidecar.watch said. Target, dimensions and storage are known.
--   'hnsw', 'ivfflat', 'vchordrq', 'diskann'   the method's name: of the type that default_index_kind says
--   'halfvec', 'vector', 'none'                hnsw on that type; none
--   'using hnsw ((e::halfvec(1152)) halfvec_cosine_ops) with (m = 24)'    what create index takes after the table; key and `with` may be
--                                              left out
create or replace function sidecar_internal.with_index(w sidecar_internal.watches) returns sidecar_internal.watches
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    name constant text := E'("(?:[^"]|"")+"|[^\\s"():,;]+)';
    said constant text := w.index_kind;
    -- method, whether there is a key, column, type, dimensions, operator class, whether there are options, options
    parts constant text[] := regexp_match(said, format(
        E'^\\s*using\\s+([a-z_]\\w*)\\s*(\\(\\s*(?:\\(\\s*)*%1$s(?:\\s*\\))?(?:\\s*::\\s*(vector|halfvec)\\s*(?:\\(\\s*(\\d{1,5})\\s*\\))?)?(?:\\s*\\))*(?:\\s*([a-z]+_[a-z0-9]+_ops))?\\s*\\))?\\s*(with\\s*\\((.*)\\))?\\s*$',
        name), 'i');
    brackets constant text := regexp_replace(parts[2], '"(?:[^"]|"")+"', '', 'g'); -- those of a name in quotes are part of it
    hint constant text := format('Say ''hnsw'', ''ivfflat'', ''vchordrq'', ''diskann'' or ''none'', or what create index takes after the table: '
        '''using hnsw ((%1$I::halfvec(%2$s)) halfvec_cosine_ops) with (m = 24, ef_construction = 128)''.', w.target, w.dimensions);
begin
    w.index_options := '{}';
    w.index_method := 'hnsw';
    if said in ('halfvec', 'vector', 'none') then
        return w;
    elsif said in ('hnsw', 'ivfflat', 'vchordrq', 'diskann') then
        w.index_method := said;
        w.index_kind := sidecar_internal.default_index_kind(said, w.storage);
        return w;
    elsif parts is null or length(replace(brackets, '(', '')) <> length(replace(brackets, ')', '')) then
        raise exception 'index is %', coalesce(quote_literal(said), 'NULL') using errcode = 'invalid_parameter_value', hint = hint;
    end if;
    w.index_method := lower(parts[1]);
    w.index_kind := coalesce(lower(parts[4]), case when parts[2] is not null then w.storage end,
                             sidecar_internal.default_index_kind(w.index_method, w.storage));
    if sidecar_internal.read_name(parts[3]) <> w.target or (parts[2] is not null and sidecar_internal.read_name(parts[3]) is null) then
        raise exception 'the index is on %, but the vectors are in %', parts[3], quote_ident(w.target)
            using errcode = 'invalid_parameter_value', hint = hint;
    elsif parts[5]::integer <> w.dimensions then
        raise exception 'the index is on % dimensions, but the vectors have %', parts[5], w.dimensions
            using errcode = 'invalid_parameter_value', hint = hint;
    elsif lower(parts[6]) <> w.index_kind || '_cosine_ops' then
        raise exception 'the index has operator class %, not %_cosine_ops', parts[6], w.index_kind
            using errcode = 'invalid_parameter_value', hint = 'Searches compare vectors by their cosine distance.';
    elsif parts[7] is not null then
        w.index_options := sidecar_internal.read_index_options(parts[8]);
        if w.index_options is null then
            raise exception 'the options of the index are (%)', parts[8] using errcode = 'invalid_parameter_value',
                hint = 'Say (name = value, ...): values are numbers, words, or texts in single quotes.';
        end if;
    end if;
    return w;
end $$;

-- What `index` of sidecar.watch has to be for this index, in the shortest form. Options by name: their order means nothing.
create or replace function sidecar_internal.index_argument(w sidecar_internal.watches) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case
        when w.index_kind = 'none' or (w.index_method = 'hnsw' and w.index_options = '{}') then w.index_kind
        when w.index_options = '{}' and w.index_method in ('ivfflat', 'vchordrq', 'diskann')
             and w.index_kind = sidecar_internal.default_index_kind(w.index_method, w.storage) then w.index_method
        else format(case when w.index_kind = w.storage then 'using %s (%I %s_cosine_ops)%s' else 'using %1$s ((%2$I::%3$s(%5$s)) %3$s_cosine_ops)%4$s' end,
                    w.index_method, w.target, w.index_kind,
                    sidecar_internal.index_options(array(select o.option from unnest(w.index_options) o(option) order by o.option)), w.dimensions) end;
$$;

-- As index_argument, of what a program declares as `index`: two that mean the same index give the same text.
create or replace function sidecar_internal.canonical_index(index text, target text, dimensions integer, storage text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select sidecar_internal.index_argument(sidecar_internal.with_index(jsonb_populate_record(null::sidecar_internal.watches,
        jsonb_build_object('index_kind', index, 'target', target, 'dimensions', dimensions, 'storage', storage))));
$$;

-- ' with (m = 24, ef_construction = 128)' of {m=24,ef_construction=128}; '' of none. Names and values are quoted, so that pg_class.reloptions has
-- them as they are here: an index with others would not serve, and be built again and again.
create or replace function sidecar_internal.index_options(options text[]) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select coalesce(' with (' || string_agg(format(case when v.value ~ E'^(0|[1-9]\\d{0,8})$' then '%I = %s' else '%I = %L' end, v.name, v.value), ', ' order by v.n) || ')', '')
        from (select split_part(o.option, '=', 1) as name, substr(o.option, strpos(o.option, '=') + 1) as value, o.n
              from unnest(options) with ordinality o(option, n)) v;
$$;

-- A number of an option or a setting: Postgres takes '1e2' and ' 100.0 ' where an integer belongs, and keeps the text. NULL for anything else.
create or replace function sidecar_internal.read_number(value text) returns integer
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    return value::numeric;
exception when invalid_text_representation or numeric_value_out_of_range or feature_not_supported then
    return null;
end $$;

-- The operator class of an access method for the cosine distance of pgvector's type `kind`: its name in pg_opclass is one thing,
-- its schema that of its extension. NULL where the database has none. Only superusers make operator classes, so whose functions
-- the build calls is not up to the owner of a table.
create or replace function sidecar_internal.cosine_class(method text, kind text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('%I.%I', n.nspname, o.opcname)
        from pg_am a
        join pg_opclass o on o.opcmethod = a.oid and o.opcname = kind || '_cosine_ops'
        join pg_namespace n on n.oid = o.opcnamespace
        join pg_type t on t.oid = o.opcintype and t.typname = kind
        join pg_extension e on e.extname = 'vector' and e.extnamespace = t.typnamespace
        where a.amname = method limit 1;
$$;

-- Raises if this database cannot build the index that a watch asks for.
create or replace function sidecar_internal.check_index_method(w sidecar_internal.watches) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    product constant text := case w.index_method when 'vchordrq' then 'VectorChord' when 'diskann' then 'pgvectorscale' end;
    extension constant text := case w.index_method when 'vchordrq' then 'vchord' when 'diskann' then 'vectorscale' end;
begin
    if w.index_kind = 'none' or sidecar_internal.cosine_class(w.index_method, w.index_kind) is not null then
        return;
    elsif exists (select from pg_am a where a.amname = w.index_method and a.amtype = 'i') then
        raise exception 'index method % cannot compare % by cosine: it has no operator class %_cosine_ops', w.index_method, w.index_kind, w.index_kind
            using errcode = 'undefined_object', hint = case when w.index_kind = 'halfvec' and sidecar_internal.cosine_class(w.index_method, 'vector') is not null
                then format('Say index => ''using %s (%I%s)''.', w.index_method, w.target, case when w.storage <> 'vector' then '::vector' else '' end)
                else 'Say index => ''hnsw''; with index => ''none'' any index is yours to build.' end;
    end if;
    raise exception 'there is no index method % in database "%"%', quote_literal(w.index_method), current_database(),
            coalesce(format(': %s is not installed', product), '')
        using errcode = 'undefined_object', hint = case
            when extension is null then 'Install the extension that has it, or say index => ''hnsw''.'
            when exists (select from pg_available_extensions a where a.name = extension) then format('Run: create extension %s cascade;', extension)
            else format('Install %s on the server as its documentation says%s, then run: create extension %s cascade; or say index => ''hnsw''.',
                        product, case extension when 'vchord' then ', which includes shared_preload_libraries' else '' end, extension) end;
end $$;

-- Raises if the method of the index does not know its storage parameters, or takes other values. Builds such an index on an empty table
-- and undoes it. What else goes wrong there, such as a missing right to create temporary tables, tells nothing.
create or replace function sidecar_internal.try_index_options(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = error as $$
declare
    built text[];
    known text;
begin
    if w.index_options = '{}' then
        return;
    end if;
    begin
        execute format('create temp table sidecar_trial (e %s(%s)) on commit drop', sidecar_internal.stored_type(w), w.dimensions);
        w.target := 'e';
        execute format('create index sidecar_trial_index on pg_temp.sidecar_trial using %I %s%s', w.index_method, sidecar_internal.index_key(w),
                       sidecar_internal.index_options(w.index_options));
        select coalesce(c.reloptions, '{}') into built from pg_class c where c.oid = to_regclass('pg_temp.sidecar_trial_index');
        raise exception 'undo' using errcode = 'SCX01';
    exception
        when sqlstate 'SCX01' then
            null;
        when invalid_parameter_value or syntax_error then
            known := sqlerrm;
        when others then
            return;
    end;
    if known is not null or not built @> w.index_options then
        raise exception 'index method % does not take the options%: %', w.index_method, sidecar_internal.index_options(w.index_options),
                coalesce(known, format('it makes%s of them', sidecar_internal.index_options(built)))
            using errcode = 'invalid_parameter_value', hint = 'The documentation of its extension lists them.';
    end if;
end $$;

-- The number of lists that pgvector recommends for an IVFFlat index: a thousandth of the rows, from a million rows on their square root.
create or replace function sidecar_internal.ivfflat_lists(rows bigint) returns integer
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select least(greatest(case when rows <= 1000000 then rows / 1000 else sqrt(rows)::bigint end, 10), 32768)::integer;
$$;

-- The storage parameters with which an index of a watch is built on a table: those that were asked for, and for IVFFlat the number of
-- lists, which its rows determine.
create or replace function sidecar_internal.options_to_build(w sidecar_internal.watches, vector_table regclass) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if w.index_method = 'ivfflat' and not exists (select from unnest(w.index_options) o(option) where o.option like 'lists=%') then
        w.index_options := w.index_options || format('lists=%s', sidecar_internal.ivfflat_lists((sidecar_internal.count_rows(vector_table, false)).n));
    end if;
    return sidecar_internal.index_options(w.index_options);
end $$;

-- Whether an index of ours (their names end in _hnsw_7, by method and watch) belongs to the watch; REINDEX CONCURRENTLY renames those it leaves.
create or replace function sidecar_internal.is_our_index(w sidecar_internal.watches, name text, method text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select name ~ format(E'_%s_%s(_cc(new|old)\\d*)?$', method, w.id);
$$;
