-- Primary keys of watched tables: how they are read from the catalog, which are rejected, and how keys become text or JSON and back.
--
-- The owner of a type may add casts and operators at any time, and the owner of a table may change its columns. So no key is
-- cast here, nor passed to functions that look for casts (to_json, array_position):
--   key -> text   concat(k), which calls the type's output function; built-in types may be cast
--   text -> key   jsonb_populate_record(null::sidecar_internal.events_7, '{"k1": "7"}'), which calls the input function of the column's type
--   comparisons  between values of one type, which sidecar_internal.exactly makes sure of when a statement is parsed
-- `=` of an enum or a range is then the one of pg_catalog, or ambiguous (an error) if its owner has created an implicit cast.

-- Names and types of the primary key, in key order. A domain is replaced by its base type: its NOT NULL and CHECK would reject
-- our NULL keys, and would run a user's function with our rights. `definitions` includes a collation that is not the type's
-- own. Types are printed the same in every session, because the sidecar compares them with what a user's session stored. Raises
-- if there is no primary key.
create or replace function sidecar_internal.primary_key_of(relation regclass, out columns text[], out types text[], out definitions text[])
language plpgsql stable set search_path = pg_catalog, pg_temp set quote_all_identifiers = off as $$
begin
    select array_agg(a.attname::text order by k.position), array_agg(b.printed order by k.position),
           array_agg(b.printed || case when a.attcollation <> 0 and a.attcollation <> t.typcollation
                     then format(' collate %I.%I', cn.nspname, co.collname) else '' end order by k.position)
        into columns, types, definitions
        from pg_constraint c
        cross join unnest(c.conkey) with ordinality as k(attnum, position)
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
        cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
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

-- Formats the pattern once for each key column: %1$s is its number, %2$s its name, %3$s its type.
create or replace function sidecar_internal.for_each_key(columns text[], types text[], pattern text, separator text default ', ') returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select string_agg(format(pattern, i, columns[i], types[i]), separator order by i) from generate_subscripts(columns, 1) i;
$$;

-- The base type of a domain; other types are returned as they are. `printed` is schema-qualified and includes the type
-- modifier.
create or replace function sidecar_internal.base_type(inout type oid, inout modifier integer, out printed text)
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

-- Returns the value if it has the expected type. Otherwise the statement that contains the call cannot be parsed, where a plain
-- comparison would have looked for a cast. It is inlined: it costs nothing and does not prevent the use of an index. That is
-- why it has no settings of its own.
create or replace function sidecar_internal.exactly(expected anyelement, value anyelement) returns anyelement
language sql immutable as 'select $2';

-- ' collate pg_catalog."C"' where a column of a domain has another collation than the domain, else nothing. Without one named, `=` would
-- not know which of the two is meant.
create or replace function sidecar_internal.collation_over_domain(a pg_attribute) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce((select format(' collate %I.%I', c.collnamespace::regnamespace, c.collname)
                     from pg_type t join pg_collation c on c.oid = a.attcollation
                     where t.oid = a.atttypid and t.typtype = 'd' and t.typcollation <> a.attcollation), '');
$$;

-- The key columns of a row of `vector_table` (the watched table, its present or a former companion) as expressions that insist on their
-- known types: 'sidecar_internal.exactly((null::sidecar_internal.events_7).k1, t.id)'. For a domain, the base type follows from
-- the array element: NULL as a domain would be checked, by a function that a user made. It has the collation of its column.
create or replace function sidecar_internal.exact_keys(w sidecar_internal.watches, vector_table regclass, row_name text) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
    select array_agg(format('sidecar_internal.exactly(%s, %s.%I)', case when t.typtype = 'd' then format('(null::%s[])[1]', format_type(t.oid, null))
                                                          else format('(null::sidecar_internal.events_%s).k%s', w.id, u.i) end, row_name, u.c)
                     || sidecar_internal.collation_over_domain(a) order by u.i)
        from unnest(w.key_columns) with ordinality u(c, i)
        left join pg_attribute a on a.attrelid = vector_table and a.attname = u.c
        left join pg_type t on t.oid = a.atttypid;
$$;

-- The key columns of a row of ours as values for the companion; a domain there accepts its base type.
create or replace function sidecar_internal.companion_values(w sidecar_internal.watches, row_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(format(case when t.typtype = 'd' then '%1$s.k%2$s' else 'sidecar_internal.exactly((null::%3$s).%4$I, %1$s.k%2$s)' end,
                             row_name, u.i, w.companion, u.c), ', ' order by u.i)
        from unnest(w.key_columns) with ordinality u(c, i)
        left join pg_attribute a on a.attrelid = w.companion and a.attname = u.c
        left join pg_type t on t.oid = a.atttypid;
$$;

-- The arguments of jsonb_build_object for the key of a row of ours: ''id', t.k1, ...'. User-defined types are passed as text,
-- because conversion to JSON looks for a cast.
create or replace function sidecar_internal.key_fields(w sidecar_internal.watches, row_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(format(case when a.atttypid < 16384 then '%L, %s.k%s' else '%L, concat(%s.k%s)' end, u.c, row_name, u.i), ', ' order by u.i)
        from unnest(w.key_columns) with ordinality u(c, i)
        left join pg_attribute a on a.attrelid = to_regclass(format('sidecar_internal.events_%s', w.id)) and a.attname = format('k%s', u.i);
$$;

-- A FROM item that converts a key under our names in `parameter` to a row, r.k1, r.k2 ..., by the input functions of the key's
-- types. (A jsonb key may be the JSON null, which is not NULL.)
create or replace function sidecar_internal.typed_key(w sidecar_internal.watches, parameter text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('(select %s from jsonb_populate_record(null::sidecar_internal.events_%s, %s) x) r',
                  string_agg(format(case when a.atttypid = 'jsonb'::regtype then 'coalesce(x.%1$I, ''null'') as %1$I' else 'x.%1$I' end, a.attname), ', '),
                  w.id, parameter)
        from pg_attribute a where a.attrelid = to_regclass(format('sidecar_internal.events_%s', w.id)) and a.attname ~ '^k[0-9]+$';
$$;

-- A key under our column names: {"k1": 7} for {"id": 7}.
create or replace function sidecar_internal.numbered_key(w sidecar_internal.watches, key jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select jsonb_object_agg('k' || i, numbered_key.key->w.key_columns[i]) from generate_subscripts(w.key_columns, 1) i;
$$;

-- The key that a failure is stored under: the row's key, or a digest if that is too wide for an index. Equal keys have equal
-- digests.
create or replace function sidecar_internal.failure_key(key jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when failure_key.key is null or octet_length(failure_key.key::text) <= 1000 then failure_key.key
           else jsonb_build_object('digest', encode(int8send(jsonb_hash_extended(failure_key.key, 0))
                                                    || int8send(jsonb_hash_extended(failure_key.key, 1)), 'hex')) end;
$$;

-- Why keys of a type cannot be passed to the sidecar's statements; NULL if they can. Arrays and composites do not survive
-- unnest(). Reading a range reads its bounds, and a domain among them, or a canonical function, would run its owner's code.
create or replace function sidecar_internal.key_type_fault(type oid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case
        when t.typcategory in ('A', 'C') then 'it is made of several values'
        when t.oid < 16384 or t.typtype = 'b' then null
        when exists (select from pg_cast c where c.castsource = t.oid and c.castcontext = 'i')
            then 'its implicit cast makes comparisons of its values ambiguous'
        when t.typtype = 'e' then null
        when t.typtype not in ('r', 'm') then 'it is of a kind that is not known'
        when not exists (select from pg_range r join pg_type s on s.oid = r.rngsubtype
                         where t.oid in (r.rngtypid, r.rngmultitypid) and r.rngcanonical < 16384
                           and (s.typtype = 'e' or (s.typtype = 'b' and s.oid < 16384 and s.typcategory <> 'A')))
            then 'reading it calls functions that a user made'
        end
        from pg_type t where t.oid = key_type_fault.type;
$$;

-- Raises for key types with a fault. Operators are looked up in pg_catalog only, so that no role can substitute one of their
-- own; this is why citext is treated as plain text.
create or replace function sidecar_internal.check_key_types(relation regclass) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    key record;
begin
    select a.attname, format_type(a.atttypid, a.atttypmod) as type,
           coalesce(sidecar_internal.key_type_fault(t.oid), case when t.typtype = 'e' then 'a domain over an enum has no operators' end) as fault into key
        from pg_index i
        cross join generate_series(0, i.indnkeyatts - 1) as position
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[position]
        cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        join pg_type t on t.oid = b.type
        join pg_opclass oc on oc.oid = i.indclass[position]
        left join pg_amop o on o.amopfamily = oc.opcfamily and o.amopstrategy = 3
                               and o.amoplefttype = oc.opcintype and o.amoprighttype = oc.opcintype
        left join pg_operator op on op.oid = o.amopopr
        where i.indrelid = relation and i.indisprimary
          and (sidecar_internal.key_type_fault(t.oid) is not null or (t.typtype = 'e' and a.atttypid <> t.oid) or op.oprnamespace <> 'pg_catalog'::regnamespace) limit 1;
    if found then
        raise exception 'key column %.% has type %, which cannot be a key here%', relation, quote_ident(key.attname), key.type,
                coalesce(': ' || key.fault, '')
            using errcode = 'feature_not_supported',
                  hint = 'Use a key of a simple type of Postgres''s own, such as bigint, uuid or text; or of several such columns.';
    end if;
end $$;

-- Why the keys of a watch do not, or no longer, have the types of the queue's tables, or are unsafe; NULL if they are fine.
-- Compares types by OID: another type may have taken the name.
create or replace function sidecar_internal.key_fault(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format(case when k.type is distinct from b.type then 'key column %I has become another type than the one of its name'
                  else 'key column %I has type %s: %s' end, u.c, format_type(b.type, null), sidecar_internal.key_type_fault(b.type))
        from unnest(w.key_columns) with ordinality u(c, i)
        join pg_attribute a on a.attrelid = w.relation and a.attname = u.c
        cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        join (select x.attname, x.atttypid as type from unnest(array['events', 'delayed', 'ledger', 'former']) t
              join pg_attribute x on x.attrelid = to_regclass(format('sidecar_internal.%s_%s', t, w.id))) k on k.attname = format('k%s', u.i)
        where k.type <> b.type or sidecar_internal.key_type_fault(b.type) is not null order by u.i limit 1;
$$;

-- A user's key in the form that we store: {"id": "7"} becomes {"id": 7}. Raises for other columns than those of the key. Its
-- settings are those of the sidecar's sessions, because some types print and read differently under others.
create or replace function sidecar_internal.canonical_key(w sidecar_internal.watches, key jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, YMD' set intervalstyle = 'postgres' set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1
set lc_monetary = 'C' set quote_all_identifiers = off as $$
declare
    canonical jsonb;
begin
    if jsonb_typeof(key) is distinct from 'object' or (select array_agg(k order by k) from jsonb_object_keys(key) k)
            is distinct from (select array_agg(c order by c) from unnest(w.key_columns) c) then
        raise exception 'key % does not name the key columns of %', coalesce(key::text, 'NULL'), w.relation
            using errcode = 'invalid_parameter_value',
                  hint = format('Say: key => ''{%s}''', (select string_agg(to_json(c) || ': ...', ', ') from unnest(w.key_columns) c));
    end if;
    execute format('select jsonb_build_object(%s) from %s', sidecar_internal.key_fields(w, 'r'), sidecar_internal.typed_key(w, '$1')) into canonical using sidecar_internal.numbered_key(w, key);
    return canonical;
end $$;

-- True if a type is the wanted one or a domain over it.
create or replace function sidecar_internal.is_domain_over(type regtype, wanted regtype) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select b.type = wanted from sidecar_internal.base_type(is_domain_over.type, -1) b;
$$;

-- A condition on a user's row, 'r', 'new' or 'old': its keys have the types of the queue. For other types a cast would be
-- called, which the table's owner may have made for the purpose, with our rights.
create or replace function sidecar_internal.keys_fit(w sidecar_internal.watches, row_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select sidecar_internal.for_each_key(w.key_columns, null, format(
        '(pg_typeof(%1$s.%%2$I) = pg_typeof((null::sidecar_internal.events_%2$s).k%%1$s) '
        'or sidecar_internal.is_domain_over(pg_typeof(%1$s.%%2$I), pg_typeof((null::sidecar_internal.events_%2$s).k%%1$s)))', row_name, w.id), ' and ');
$$;
