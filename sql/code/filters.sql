-- Filters: a JSON object becomes a condition of SQL, for searches of any kind.
--
--   {"tenant": 7, "price": {"$gte": 10, "$lt": 50}, "$or": [{"tags": {"$any": ["new"]}}, {"stock": {"$ne": 0}}]}
--
-- All entries of an object must hold. An entry is a column with a value (null: IS NULL; a list: one of these; else equality) or
-- with operators, or `$and`, `$or` (lists of filters), `$not` (a filter).
-- A condition holds for a row or it does not: NULL meets nothing but null, so `$ne`, `$nin` and `$not`, which negate, find rows
-- with NULL. In SQL: (...) is not true.
-- Values become literals of the column's type, after that type has read them once, so that an error has the path of its value. No value is
-- cast from another type: the owner of a type may have made casts.

-- Raises the error of a filter. The path of what is wrong, such as filter.price.$gte, is the error's column, for programs.
create or replace function sidecar_internal.raise_filter_fault(path text, complaint text, sqlstate text, hint text default '') returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    raise exception '%: %', path, complaint using errcode = raise_filter_fault.sqlstate, column = path, hint = raise_filter_fault.hint;
end $$;

-- How a filter compares these columns of a watched table; those that it lacks are left out.
--   kind        text, scalar, enum, array, jsonb, or other (equality only, by Postgres' own reading of a literal). NULL instead of other
--               if only `exposed` columns may be named: casts and operators of other types may be functions that their owner made
--               for the purpose, and they would run with the rights of the searching role
--   type        the type that reads a value: of an array, that of its elements
--   expression  the column, which must still be of its type; see exactly. Of an enum the label
create or replace function sidecar_internal.filter_columns(w sidecar_internal.watches, row_name text, names text[], exposed boolean)
returns table (name text, kind text, type text, printed text, expression text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    with scalars(type) as (values
        ('bool'::regtype), ('int2'), ('int4'), ('int8'), ('numeric'), ('float4'), ('float8'), ('text'), ('varchar'), ('bpchar'), ('name'), ('"char"'),
        ('uuid'), ('date'), ('time'), ('timetz'), ('timestamp'), ('timestamptz'), ('interval'), ('inet'), ('cidr'), ('macaddr'), ('macaddr8'),
        ('bit'), ('varbit'), ('money'), ('bytea'), ('oid'))
    select c.name, c.kind, format('%I.%I', n.nspname, v.typname), c.printed,
           format(case when c.kind = 'enum' then 'case when %2$s.%3$I is not null then concat(%2$s.%3$I) end'
                       when c.kind = 'other' then '%2$s.%3$I'
                       when c.declared = c.type and c.kind = 'array' then 'sidecar_internal.exactly(null::%1$s, %2$s.%3$I)'
                       else 'sidecar_internal.exactly((null::%1$s[])[1], %2$s.%3$I)' || c.collated end, format_type(c.declared, null), row_name, c.name)
    from (select a.attname::text as name, a.atttypid as declared, b.type, b.printed, t.typelem as element,
                 case when t.typtype = 'e' then 'enum'
                      when t.oid in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'name'::regtype) then 'text'
                      when t.oid in (select s.type from scalars s) then 'scalar'
                      when t.oid = 'jsonb'::regtype then 'jsonb'
                      when exists (select from pg_type e join scalars s on s.type = e.oid where e.typarray = t.oid) then 'array'
                      when not exposed then 'other' end as kind, sidecar_internal.collation_over_domain(a) as collated
          from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b join pg_type t on t.oid = b.type
          where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped and a.attname = any (names)) c
    join pg_type v on v.oid = case c.kind when 'array' then c.element else c.type end join pg_namespace n on n.oid = v.typnamespace;
$$;

-- The column that a filter names. Raises if there is none, or none that can be compared.
create or replace function sidecar_internal.filter_column(
    w sidecar_internal.watches, row_name text, column_name text, allowed text[], path text, out kind text, out type text, out printed text, out expression text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    select c.kind, c.type, c.printed, c.expression into kind, type, printed, expression
        from sidecar_internal.filter_columns(w, row_name, array[column_name], allowed is not null) c
        where allowed is null or column_name = any (allowed);
    if found and kind is not null then
        return;
    elsif found then
        raise exception 'column % has a type that a filter cannot compare', quote_literal(column_name)
            using errcode = 'wrong_object_type', column = path, hint = 'Built-in scalar types, enums, arrays of built-in types and jsonb can be compared.';
    elsif starts_with(column_name, '$') then
        perform sidecar_internal.raise_filter_fault(path, 'there is no such operator here', '22023',
            'Only $and, $or and $not; others belong to a column: {"price": {"$gte": 10}}.');
    elsif allowed is null then
        raise exception 'table % has no column % to filter by', w.relation, quote_literal(column_name)
            using errcode = 'undefined_column', column = path,
                  hint = concat(sidecar_internal.did_you_mean_column(column_name, w.relation), 'filter has columns of the table: {"tenant": 7}.');
    end if;
    raise exception 'column % is not exposed by the watch', quote_literal(column_name) using errcode = 'undefined_column', column = path,
        hint = format('%sIts columns: %s. To add one: sidecar.watch(..., expose => array[...], replace => true).',
                      sidecar_internal.did_you_mean(column_name, allowed), array_to_string(allowed, ', '));
end $$;

-- What the type says of a text that it cannot read; nulls if it can.
create or replace function sidecar_internal.input_error(value text, type text, out message text, out sql_error_code text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if current_setting('server_version_num')::integer >= 160000 then
        select e.message, e.sql_error_code into message, sql_error_code from pg_input_error_info(value, type) e;
    else
        select e.message, e.sql_error_code into message, sql_error_code from sidecar_internal.input_error_of_cast(value, type) e;
    end if;
end $$;

-- The same on Postgres 15, which has no pg_input_error_info.
create or replace function sidecar_internal.input_error_of_cast(value text, type text, out message text, out sql_error_code text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    execute format('select %L::%s', value, type);
exception when others then
    get stacked diagnostics message = message_text, sql_error_code = returned_sqlstate;
end $$;

-- Raises for the first of these values that the type cannot read. `paths` are theirs.
create or replace function sidecar_internal.check_filter_values(type text, wanted text[], paths text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    fault record;
begin
    if (sidecar_internal.input_error(wanted::text, type || '[]')).message is null then
        return;
    end if;
    select v.n, e.message, e.sql_error_code into fault from unnest(wanted) with ordinality v(value, n)
        cross join lateral sidecar_internal.input_error(v.value, type) e where v.value is not null and e.message is not null order by v.n limit 1;
    perform sidecar_internal.raise_filter_fault(paths[fault.n], fault.message, fault.sql_error_code);
end $$;

-- The operands of an operator as texts, and the path of each. Raises where one is not a single value; null only where it may be.
create or replace function sidecar_internal.filter_values(operand jsonb, path text, may_be_null boolean, out wanted text[], out paths text[])
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    wrong record;
begin
    if jsonb_typeof(operand) <> 'array' then
        operand := jsonb_build_array(operand);
        paths := array[path];
    else
        paths := array(select format('%s[%s]', path, i) from generate_series(0, jsonb_array_length(operand) - 1) i);
    end if;
    select v.n, jsonb_typeof(v.value) as kind into wrong from jsonb_array_elements(operand) with ordinality v(value, n)
        where jsonb_typeof(v.value) in ('object', 'array') or (jsonb_typeof(v.value) = 'null' and not may_be_null) order by v.n limit 1;
    if found then
        perform sidecar_internal.raise_filter_fault(paths[wrong.n], format(case wrong.kind when 'null' then 'null cannot be compared'
            else 'it is an %s, not a value' end, wrong.kind), '22023', case wrong.kind when 'null' then 'Ask for {"$null": true}.' else '' end);
    end if;
    wanted := array(select v.value #>> '{}' from jsonb_array_elements(operand) with ordinality v(value, n) order by v.n);
end $$;

-- A comparison with one value, or for $between with two, for types that have an order. Enums are compared by their labels, of which there are few.
create or replace function sidecar_internal.filter_comparison(c record, operator text, wanted text[], paths text[]) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    places real[];
begin
    if c.kind = 'enum' then
        places := array(select e.enumsortorder from unnest(wanted) with ordinality v(label, n)
                        left join pg_enum e on e.enumtypid = to_regtype(c.type) and e.enumlabel = v.label order by v.n);
        if array_position(places, null) is not null then
            perform sidecar_internal.raise_filter_fault(paths[p.n], format('invalid input value for enum %s: "%s"', c.type, wanted[p.n]), '22P02')
                from (select array_position(places, null) as n) p;
        end if;
        return format('%s = any (%L::pg_catalog.text[])', c.expression, array(
            select e.enumlabel::text from pg_enum e where e.enumtypid = to_regtype(c.type)
            and case operator when '=' then e.enumsortorder = any (places) when '<' then e.enumsortorder < places[1] when '<=' then e.enumsortorder <= places[1]
                              when '>' then e.enumsortorder > places[1] when '>=' then e.enumsortorder >= places[1]
                              else e.enumsortorder between places[1] and places[2] end order by e.enumsortorder));
    end if;
    perform sidecar_internal.check_filter_values(c.type, wanted, paths);
    return case operator
        when 'between' then format('(%1$s >= %2$L::%4$s and %1$s <= %3$L::%4$s)', c.expression, wanted[1], wanted[2], c.type)
        when '=' then case when cardinality(wanted) = 1 then format('%s = %L::%s', c.expression, wanted[1], c.type)
                           else format('%s = any (%L::%s[])', c.expression, wanted, c.type) end
        else format('%s %s %L::%s', c.expression, operator, wanted[1], c.type) end;
end $$;

-- Equality with a value, or with one of a list; null is IS NULL. Of a jsonb column values are JSON, of others they are what the type reads.
create or replace function sidecar_internal.filter_equality(c record, operand jsonb, is_list boolean, path text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    wanted text[];
    paths text[];
    present text[];
    condition text;
    array_type constant text := case when c.kind = 'array' then c.type || '[]' end;
begin
    if c.kind = 'jsonb' then
        operand := case when is_list then operand else jsonb_build_array(operand) end;
        condition := (select string_agg(format('%s = %L::pg_catalog.jsonb', c.expression, v.value::text), ' or ' order by v.n)
                      from jsonb_array_elements(operand) with ordinality v(value, n) where jsonb_typeof(v.value) <> 'null');
        paths := array(select 'null' from jsonb_array_elements(operand) v(value) where jsonb_typeof(v.value) = 'null');
        return format('(%s)', concat_ws(' or ', condition, case when cardinality(paths) > 0 then c.expression || ' is null' end,
                                        case when jsonb_array_length(operand) = 0 then 'false' end));
    end if;
    select v.wanted, v.paths into wanted, paths from sidecar_internal.filter_values(operand, path, true) v;
    paths := array(select p.path from unnest(wanted, paths) with ordinality p(value, path, n) where p.value is not null order by p.n);
    present := array_remove(wanted, null);
    if c.kind = 'other' then
        condition := (select format('%s in (%s)', c.expression, string_agg(quote_literal(v.value), ', ' order by v.n))
                      from unnest(present) with ordinality v(value, n) having count(*) > 0);
    elsif c.kind = 'array' then
        for i in 1 .. cardinality(present) loop
            if (sidecar_internal.input_error(present[i], array_type)).message is not null then
                perform sidecar_internal.raise_filter_fault(paths[i], (sidecar_internal.input_error(present[i], array_type)).message, '22P02',
                    'Ask an array what it holds: {"$contains": ["a"]} for all of a list, {"$any": ["a", "b"]} for at least one.');
            end if;
        end loop;
        condition := (select string_agg(format('%s = %L::%s', c.expression, v.value, array_type), ' or ' order by v.n) from unnest(present) with ordinality v(value, n));
    elsif cardinality(present) > 0 then
        condition := sidecar_internal.filter_comparison(c, '=', present, paths);
    end if;
    condition := concat_ws(' or ', condition, case when cardinality(present) < cardinality(wanted) then c.expression || ' is null' end);
    return format('(%s)', coalesce(nullif(condition, ''), 'false'));
end $$;

-- What an array or a jsonb column holds: all of the operand ($contains), or at least one of its values ($any).
create or replace function sidecar_internal.filter_containment(c record, operator text, operand jsonb, path text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    wanted text[];
    paths text[];
begin
    if operator = '$any' and jsonb_typeof(operand) <> 'array' then
        perform sidecar_internal.raise_filter_fault(path, 'it is not a list of values', '22023', 'For example {"$any": ["a", "b"]}.');
    elsif c.kind = 'jsonb' and operator = '$contains' then
        return format('%s @> %L::pg_catalog.jsonb', c.expression, operand::text);
    elsif c.kind = 'jsonb' then
        return format('(%s)', coalesce((select string_agg(format('%s @> %L::pg_catalog.jsonb', c.expression, v.value::text), ' or ' order by v.n)
                                        from jsonb_array_elements(operand) with ordinality v(value, n)), 'false'));
    end if;
    select v.wanted, v.paths into wanted, paths from sidecar_internal.filter_values(operand, path, false) v;
    perform sidecar_internal.check_filter_values(c.type, wanted, paths);
    return format('%s %s %L::%s[]', c.expression, case operator when '$any' then '&&' else '@>' end, wanted, c.type);
end $$;

-- One operator on a column, as a condition.
create or replace function sidecar_internal.filter_operation(c record, operator text, operand jsonb, path text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    suited text[];
    wanted text[];
    paths text[];
begin
    suited := case operator when '$eq' then null when '$ne' then null when '$in' then null when '$nin' then null when '$null' then null
                            when '$lt' then array['text', 'scalar', 'enum'] when '$lte' then array['text', 'scalar', 'enum']
                            when '$gt' then array['text', 'scalar', 'enum'] when '$gte' then array['text', 'scalar', 'enum']
                            when '$between' then array['text', 'scalar', 'enum'] when '$prefix' then array['text']
                            when '$contains' then array['array', 'jsonb'] when '$any' then array['array', 'jsonb'] else '{}' end;
    if suited = '{}' then
        perform sidecar_internal.raise_filter_fault(path, 'there is no such operator', '22023',
            '$eq, $ne, $in, $nin, $lt, $lte, $gt, $gte, $between, $null, $prefix, $contains, $any.');
    elsif c.kind <> all (suited) then
        perform sidecar_internal.raise_filter_fault(path, format('a column of type %s cannot be compared so', c.printed), '42809', case operator
            when '$prefix' then '$prefix is for texts.' when '$contains' then '$contains is for arrays and jsonb.' when '$any' then '$any is for arrays and jsonb.'
            else format('%s is for types with an order; ask an array or jsonb for what it holds with $contains or $any.', operator) end);
    elsif operator in ('$in', '$nin') and jsonb_typeof(operand) <> 'array' then
        perform sidecar_internal.raise_filter_fault(path, 'it is not a list', '22023', format('For example {"%s": [1, 2]}.', operator));
    elsif operator = '$null' and jsonb_typeof(operand) <> 'boolean' then
        perform sidecar_internal.raise_filter_fault(path, 'it is neither true nor false', '22023', '{"$null": true} finds rows without a value.');
    elsif operator = '$between' and (jsonb_typeof(operand) <> 'array' or jsonb_array_length(operand) <> 2) then
        perform sidecar_internal.raise_filter_fault(path, 'it is not a list of two values', '22023', 'For example {"$between": [10, 20]}; both are included.');
    elsif operator = '$prefix' and jsonb_typeof(operand) <> 'string' then
        perform sidecar_internal.raise_filter_fault(path, 'it is not a text', '22023', 'For example {"$prefix": "AB-"}.');
    end if;
    case
        when operator = '$null' then
            return format('%s is %snull', c.expression, case when operand = 'true' then '' else 'not ' end);
        when operator in ('$eq', '$ne') and c.kind = 'array' and jsonb_typeof(operand) = 'array' then
            select v.wanted, v.paths into wanted, paths from sidecar_internal.filter_values(operand, path, false) v;
            perform sidecar_internal.check_filter_values(c.type, wanted, paths);
            return format(case operator when '$ne' then '(%s = %L::%s[]) is not true' else '%s = %L::%s[]' end, c.expression, wanted, c.type);
        when operator in ('$eq', '$ne') and jsonb_typeof(operand) = 'array' and c.kind <> 'jsonb' then
            perform sidecar_internal.raise_filter_fault(path, 'it is a list, not a value', '22023', 'Ask for one of a list with $in, for none of it with $nin.');
        when operator in ('$eq', '$in') then
            return sidecar_internal.filter_equality(c, operand, operator = '$in', path);
        when operator in ('$ne', '$nin') then
            return format('%s is not true', sidecar_internal.filter_equality(c, operand, operator = '$nin', path));
        when operator = '$prefix' then
            -- In the collation of bytes: case-sensitive everywhere, and what an index with text_pattern_ops serves.
            return format('%s collate pg_catalog."C" like %L', c.expression, regexp_replace(operand #>> '{}', '([\\%_])', '\\\1', 'g') || '%');
        when operator in ('$contains', '$any') then
            return sidecar_internal.filter_containment(c, operator, operand, path);
        else
            if operator <> '$between' and jsonb_typeof(operand) = 'array' then
                perform sidecar_internal.raise_filter_fault(path, 'it is a list, not a value', '22023');
            end if;
            select v.wanted, v.paths into wanted, paths from sidecar_internal.filter_values(operand, path, false) v;
            return sidecar_internal.filter_comparison(c, case operator when '$lt' then '<' when '$lte' then '<=' when '$gt' then '>' when '$gte' then '>='
                                                                       else 'between' end, wanted, paths);
    end case;
end $$;

-- What is asked of one column, as conditions.
create or replace function sidecar_internal.filter_on_column(c record, asked jsonb, path text) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    misplaced text;
begin
    if jsonb_typeof(asked) = 'array' then
        return array[sidecar_internal.filter_equality(c, asked, true, path)];
    elsif jsonb_typeof(asked) <> 'object' or (c.kind = 'jsonb' and not exists (select from jsonb_object_keys(asked) o(name) where o.name like '$%')) then
        return array[sidecar_internal.filter_equality(c, asked, false, path)];
    end if;
    select o.name into misplaced from jsonb_object_keys(asked) o(name) where o.name not like '$%' limit 1;
    if misplaced is not null or asked = '{}' then
        perform sidecar_internal.raise_filter_fault(path, format('%s is not an operator', coalesce(quote_literal(misplaced), '{}')), '22023',
            'The names of operators begin with $: {"price": {"$gte": 10, "$lt": 50}}.');
    end if;
    return array(select sidecar_internal.filter_operation(c, o.key, o.value, format('%s.%s', path, o.key)) from jsonb_each(asked) o order by o.key collate "C");
end $$;

-- A filter, or one inside another, as a condition. `conditions` counts those on columns.
create or replace function sidecar_internal.filter_node(
    w sidecar_internal.watches, node jsonb, row_name text, allowed text[], path text, depth integer, inout conditions integer, out condition text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    entry record;
    inner_node record;
    parts text[] := '{}';
    alternatives text[];
begin
    if jsonb_typeof(node) <> 'object' then
        perform sidecar_internal.raise_filter_fault(path, 'it is not an object', '22023', 'A filter is an object of columns: {"tenant": 7}.');
    elsif depth > 20 then
        perform sidecar_internal.raise_filter_fault(path, 'filters are nested more than 20 levels deep', '54000');
    end if;
    for entry in select e.key, e.value, format('%s.%s', path, e.key) as path from jsonb_each(node) e order by e.key collate "C" loop
        if entry.key in ('$and', '$or') then
            if jsonb_typeof(entry.value) <> 'array' or entry.value = '[]' then
                perform sidecar_internal.raise_filter_fault(entry.path, 'it is not a list of filters', '22023', format('For example {"%s": [{"tenant": 7}, {"tenant": null}]}.', entry.key));
            end if;
            alternatives := '{}';
            for inner_node in select v.value, v.n from jsonb_array_elements(entry.value) with ordinality v(value, n) order by v.n loop
                select f.conditions, alternatives || f.condition into conditions, alternatives from sidecar_internal.filter_node(
                    w, inner_node.value, row_name, allowed, format('%s[%s]', entry.path, inner_node.n - 1), depth + 1, conditions) f;
            end loop;
            parts := parts || format('(%s)', array_to_string(alternatives, case entry.key when '$and' then ' and ' else ' or ' end));
        elsif entry.key = '$not' then
            select f.conditions, parts || format('%s is not true', f.condition) into conditions, parts
                from sidecar_internal.filter_node(w, entry.value, row_name, allowed, entry.path, depth + 1, conditions) f;
        else
            parts := parts || sidecar_internal.filter_on_column(c, entry.value, entry.path)
                from sidecar_internal.filter_column(w, row_name, entry.key, allowed, entry.path) c;
            conditions := conditions + 1;
        end if;
        if conditions > 2000 then
            perform sidecar_internal.raise_filter_fault(entry.path, 'the filter has more than 2000 conditions', '54000');
        end if;
    end loop;
    condition := format('(%s)', coalesce(nullif(array_to_string(parts, ' and '), ''), 'true'));
end $$;

-- A filter as the end of a WHERE clause, ' and (...)' or nothing.
--   row_name  what the statement calls the row of the watched table
--   allowed   the columns that it may name; NULL: all of the table's
create or replace function sidecar_internal.filter_condition(w sidecar_internal.watches, filter jsonb, row_name text, allowed text[] default null) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if filter is null or filter = '{}' then
        return '';
    elsif pg_column_size(filter) > 16 * 1024 * 1024 then
        perform sidecar_internal.raise_filter_fault('filter', 'it has more than 16 MiB', '54000');
    end if;
    return ' and ' || (sidecar_internal.filter_node(w, filter, row_name, allowed, 'filter', 1, 0)).condition;
end $$;
