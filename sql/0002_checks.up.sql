-- What sidecar.watch looks at before it changes anything. Every refusal names what is wrong and, in its HINT, what to do.

-- The schema that pgvector lives in. Raises where it is missing or older than the halfvec index casts we rely on.
create function sidecar.vector_schema() returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    found_schema text;
    found_version text;
begin
    select n.nspname, e.extversion into found_schema, found_version
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector';
    if found_schema is null then
        raise exception 'the pgvector extension is not installed in database "%"', current_database()
            using errcode = 'undefined_object', hint = 'Run: create extension vector;';
    elsif string_to_array(split_part(found_version, '-', 1), '.')::int[] < array[0, 8, 0] then
        raise exception 'pgvector % is too old: 0.8.0 or newer is needed', found_version
            using errcode = 'feature_not_supported', hint = 'Install a newer pgvector, then: alter extension vector update;';
    end if;
    return found_schema;
end $$;

-- Warns of versions whose HNSW indexes are known to break under VACUUM (0.8.3 and 0.8.4 mended them).
create function sidecar.warn_of_old_pgvector() returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    version text := (select e.extversion from pg_extension e where e.extname = 'vector');
begin
    if string_to_array(split_part(version, '-', 1), '.')::int[] < array[0, 8, 4] then
        raise warning 'pgvector % has known faults in HNSW indexes', version
            using hint = 'Install 0.8.4 or newer, then: alter extension vector update;';
    end if;
end $$;

-- Refuses what cannot be watched, or not by this role.
create function sidecar.check_relation(relation regclass) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    class record;
begin
    select c.relkind, c.relpersistence, c.relowner, n.nspname into class
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation;
    if not found then
        raise exception 'there is no table %', coalesce(relation::text, 'NULL')
            using errcode = 'undefined_table', hint = 'Name an existing table, for example ''public.products''.';
    elsif class.relkind not in ('r', 'p') then
        raise exception '% is a %, not a table', relation, case class.relkind when 'v' then 'view' when 'm' then 'materialized view'
                when 'f' then 'foreign table' when 'S' then 'sequence' else 'relation of another kind' end
            using errcode = 'wrong_object_type', hint = case when class.relkind = 'f' then 'Watch it in the database it lives in.'
                else 'Only tables can be watched: watch the table behind it.' end;
    elsif class.relpersistence = 't' then
        raise exception '% is a temporary table, which no other session can read', relation
            using errcode = 'wrong_object_type', hint = 'Use a permanent table.';
    elsif class.nspname in ('sidecar', 'pg_catalog', 'information_schema') then
        raise exception '% belongs to schema "%"', relation, class.nspname
            using errcode = 'wrong_object_type', hint = 'Use a table of your own.';
    elsif exists (select from pg_inherits i join pg_class p on p.oid = i.inhparent
                  where p.relkind = 'r' and relation in (i.inhparent, i.inhrelid)) then
        raise exception '% takes part in table inheritance, where a primary key does not cover the children', relation
            using errcode = 'wrong_object_type', hint = 'Use declarative partitioning, or a table of its own.';
    elsif not pg_has_role(class.relowner, 'usage') then
        raise exception 'only the owner of % can watch it, and role "%" is not', relation, current_user
            using errcode = 'insufficient_privilege',
                  hint = format('Let %I call this: set role %1$I;', pg_get_userbyid(class.relowner));
    end if;
end $$;

-- Names and types of the primary key, in key order. A domain stands for its base type: its NOT NULL and CHECK would fail
-- our NULL keys, and would run somebody's function with our rights. `definitions` carries a collation that is not the type's own.
create function sidecar.primary_key_of(relation regclass, out columns text[], out types text[], out definitions text[])
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    select array_agg(a.attname::text order by k.position), array_agg(b.printed order by k.position),
           array_agg(b.printed || case when a.attcollation <> 0 and a.attcollation <> t.typcollation
                     then format(' collate %I.%I', cn.nspname, co.collname) else '' end order by k.position)
        into columns, types, definitions
        from pg_constraint c
        cross join unnest(c.conkey) with ordinality as k(attnum, position)
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
        cross join sidecar.base_type(a.atttypid, a.atttypmod) b
        join pg_type t on t.oid = b.type
        left join pg_collation co on co.oid = a.attcollation
        left join pg_namespace cn on cn.oid = co.collnamespace
        where c.conrelid = relation and c.contype = 'p';
    if columns is null then
        raise exception 'table % has no primary key', relation
            using errcode = 'invalid_table_definition',
                  hint = format('The sidecar tells rows apart by their primary key. Add one, for example: '
                                'alter table %s add column id bigint generated always as identity primary key;', relation);
    end if;
end $$;

-- The pattern once for each key column: %1$s is its number, %2$s its name, %3$s its type.
create function sidecar.for_each_key(columns text[], types text[], pattern text, separator text default ', ') returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select string_agg(format(pattern, i, columns[i], types[i]), separator order by i) from generate_subscripts(columns, 1) i;
$$;

-- What a domain rests on; other types stand for themselves. `printed` is schema-qualified and has the type modifier.
create function sidecar.base_type(inout type oid, inout modifier integer, out printed text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    domain record;
begin
    loop
        select t.typbasetype, t.typtypmod into domain from pg_type t where t.oid = type and t.typtype = 'd';
        exit when not found;
        type := domain.typbasetype;
        modifier := domain.typtypmod;
    end loop;
    printed := format_type(type, modifier);
end $$;

-- Refuses key types that cannot be handed to the sidecar's statements: arrays and composites fall apart in unnest(); and
-- operators are looked up in pg_catalog only, so that nobody can slip in one of theirs, which makes citext plain text.
create function sidecar.check_key_types(relation regclass) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    key record;
begin
    select a.attname, format_type(a.atttypid, a.atttypmod) as type into key
        from pg_index i
        cross join generate_series(0, i.indnkeyatts - 1) as position
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[position]
        cross join sidecar.base_type(a.atttypid, a.atttypmod) b
        join pg_type t on t.oid = b.type
        join pg_opclass oc on oc.oid = i.indclass[position]
        left join pg_amop o on o.amopfamily = oc.opcfamily and o.amopstrategy = 3
                               and o.amoplefttype = oc.opcintype and o.amoprighttype = oc.opcintype
        left join pg_operator op on op.oid = o.amopopr
        where i.indrelid = relation and i.indisprimary
          and (t.typcategory in ('A', 'C') or op.oprnamespace <> 'pg_catalog'::regnamespace) limit 1;
    if found then
        raise exception 'key column %.% has type %, which cannot be a key here', relation, quote_ident(key.attname), key.type
            using errcode = 'feature_not_supported',
                  hint = 'Use a key of a simple type of Postgres''s own, such as bigint, uuid or text; or of several such columns.';
    end if;
end $$;

-- The kind of a source: 'text' or 'image', from the columns' types; an explicit kind must agree with them.
create function sidecar.kind_of_source(relation regclass, source text[], kind text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    name text;
    kinds text[] := '{}';
begin
    if kind_of_source.source is null or cardinality(kind_of_source.source) = 0
       or array_position(kind_of_source.source, null) is not null then
        raise exception 'source names no column' using errcode = 'invalid_parameter_value',
            hint = 'Say for example: source => ''photo'', or source => array[''title'', ''brand''].';
    elsif kind_of_source.kind not in ('text', 'image') then
        raise exception 'kind is %, which is not known', quote_literal(kind_of_source.kind)
            using errcode = 'invalid_parameter_value', hint = 'kind is ''text'' or ''image'', or left out.';
    end if;
    foreach name in array kind_of_source.source loop
        kinds := kinds || sidecar.kind_of_column(relation, name);
    end loop;
    if cardinality(kinds) > 1 and 'image' = any (kinds) then
        raise exception 'source % mixes pictures with other columns', kind_of_source.source
            using errcode = 'datatype_mismatch',
                  hint = 'Several source columns are joined as text. Watch each bytea column by itself.';
    elsif kind_of_source.kind <> kinds[1] then
        raise exception 'kind is %, but source % holds %', quote_literal(kind_of_source.kind),
            kind_of_source.source, case kinds[1] when 'image' then 'bytea (pictures)' else 'text' end
            using errcode = 'datatype_mismatch', hint = format('Leave kind out, or say kind => %L.', kinds[1]);
    end if;
    return kinds[1];
end $$;

create function sidecar.kind_of_column(relation regclass, name text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    source record;
begin
    select b.type, b.printed, t.typcategory into source
        from pg_attribute a cross join sidecar.base_type(a.atttypid, a.atttypmod) b join pg_type t on t.oid = b.type
        where a.attrelid = relation and a.attname = name and a.attnum > 0 and not a.attisdropped;
    if not found then
        raise exception 'table % has no column %', relation, quote_literal(name)
            using errcode = 'undefined_column', hint = 'Column names are case-sensitive here: give them as \d shows them.';
    elsif source.type = 'bytea'::regtype then
        return 'image';
    elsif source.typcategory = 'S' then
        return 'text';
    end if;
    raise exception 'column %.% has type %, which holds neither text nor pictures', relation, quote_ident(name), source.printed
        using errcode = 'datatype_mismatch', hint = 'A source is a text column, or a bytea column that holds picture files.';
end $$;

-- The arguments of sidecar.watch that need no table to be judged.
create function sidecar.check_options(target text, source text[], dimensions integer, index_kind text) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    most integer := case index_kind when 'halfvec' then 4000 when 'vector' then 2000 else 16000 end;
begin
    if dimensions is null or dimensions not between 1 and 16000 then
        raise exception 'dimensions is %', coalesce(dimensions::text, 'NULL') using errcode = 'invalid_parameter_value',
            hint = 'Give the length of the model''s vectors: 1152 for the default model.';
    elsif coalesce(index_kind, '') not in ('halfvec', 'vector', 'none') then
        raise exception 'index is %', coalesce(quote_literal(index_kind), 'NULL') using errcode = 'invalid_parameter_value',
            hint = 'index is ''halfvec'' (default: a third of the size, same recall), ''vector'' or ''none''.';
    elsif dimensions > most then
        raise exception 'an HNSW index on % takes at most % dimensions, not %', index_kind, most, dimensions
            using errcode = 'invalid_parameter_value', hint = 'Say index => ''none'', or ''halfvec'' for up to 4000.';
    elsif target = any (source) then
        raise exception 'target and source are both %', quote_literal(target) using errcode = 'invalid_parameter_value',
            hint = 'Name a column of its own for the vector.';
    elsif target = '' or octet_length(target) > 63 then
        raise exception 'target % is not a name of 1 to 63 bytes', quote_literal(target) using errcode = 'invalid_name',
            hint = 'Say target => … with another one.';
    end if;
end $$;

revoke all on all functions in schema sidecar from public;

-- A pgvector that is too old is refused here, not at the first watch.
select sidecar.vector_schema();
