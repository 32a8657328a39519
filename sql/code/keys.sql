-- Primary keys of watched tables: what is read from the catalogue, what is refused, and how a key given as jsonb finds its row.

-- Names and types of the primary key, in key order. A domain stands for its base type: its NOT NULL and CHECK would fail
-- our NULL keys, and would run somebody's function with our rights. `definitions` carries a collation that is not the type's own.
create or replace function sidecar.primary_key_of(relation regclass, out columns text[], out types text[], out definitions text[])
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
create or replace function sidecar.for_each_key(columns text[], types text[], pattern text, separator text default ', ') returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select string_agg(format(pattern, i, columns[i], types[i]), separator order by i) from generate_subscripts(columns, 1) i;
$$;

-- What a domain rests on; other types stand for themselves. `printed` is schema-qualified and has the type modifier.
create or replace function sidecar.base_type(inout type oid, inout modifier integer, out printed text)
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
create or replace function sidecar.check_key_types(relation regclass) returns void
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

-- The user's key in the form that we store: {"id": "7"} is {"id": 7}. Raises for a key with other columns. Settings are
-- those of the sidecar's sessions, because some types print differently under others.
create or replace function sidecar.canonical_key(w sidecar.watches, key jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, YMD' set intervalstyle = 'postgres' set timezone = 'UTC' set bytea_output = 'hex' as $$
declare
    canonical jsonb;
begin
    if jsonb_typeof(key) is distinct from 'object' or (select array_agg(k order by k) from jsonb_object_keys(key) k)
            is distinct from (select array_agg(c order by c) from unnest(w.key_columns) c) then
        raise exception 'key % does not name the key columns of %', coalesce(key::text, 'NULL'), w.relation
            using errcode = 'invalid_parameter_value',
                  hint = format('Say: key => ''{%s}''', (select string_agg(to_json(c) || ': ...', ', ') from unnest(w.key_columns) c));
    end if;
    execute format('select jsonb_build_object(%s)', sidecar.for_each_key(w.key_columns, w.key_types, '%2$L, ($1->>%2$L)::%3$s'))
        into canonical using key;
    return canonical;
end $$;

-- 't.id = ($1->>''id'')::bigint and ...', or with our names 't.k1 = ...': a condition for a canonical key in $1.
create or replace function sidecar.key_condition(w sidecar.watches, ours boolean) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select sidecar.for_each_key(w.key_columns, w.key_types,
        case when ours then 't.k%1$s' else 't.%2$I' end || ' = ($1->>%2$L)::%3$s', ' and ');
$$;

-- Whether a column's type is the wanted one, or a domain over it.
create or replace function sidecar.rests_on(type regtype, wanted regtype) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select b.type = wanted from sidecar.base_type(rests_on.type, -1) b;
$$;

-- A condition on a row of the user's, 'r', 'new' or 'old': its keys are of the types that the queue has. Of other types, a cast
-- would be called, which whoever owns the table may have made for the purpose, and with our rights.
create or replace function sidecar.keys_fit(w sidecar.watches, row_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select sidecar.for_each_key(w.key_columns, null, format(
        '(pg_typeof(%1$s.%%2$I) = pg_typeof((null::sidecar.events_%2$s).k%%1$s) '
        'or sidecar.rests_on(pg_typeof(%1$s.%%2$I), pg_typeof((null::sidecar.events_%2$s).k%%1$s)))', row_name, w.id), ' and ');
$$;

-- wait_embedded for readers: the row is looked for with their own rights and under their row-level security; ledger and
-- events are ours to read. These take the number of a watch, not its row: what a caller makes up must not reach a statement.
-- Nor a type that has taken the name of a key's, with a cast from text that its owner made.
create or replace function sidecar.has_its_types(w sidecar.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select w.key_types = array(select format_type(a.atttypid, a.atttypmod) from pg_attribute a
                               where a.attrelid = to_regclass(format('sidecar.events_%s', w.id)) and a.attname ~ '^k[0-9]+$'
                               order by a.attnum);
$$;
