-- Watched tables of every shape: what cannot be watched, partition trees, row-level security, numbers of rows.

-- Raises for a relation that cannot be watched.
create or replace function sidecar_internal.check_relation(relation regclass) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    class record;
begin
    select c.relkind, c.relpersistence, n.nspname into class
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
    elsif class.nspname in ('sidecar', 'sidecar_internal', 'pg_catalog', 'information_schema') then
        raise exception '% belongs to schema "%"', relation, class.nspname
            using errcode = 'wrong_object_type', hint = 'Use a table of your own.';
    elsif sidecar_internal.inherits(relation) then
        raise exception '% takes part in table inheritance, where a primary key does not cover the children', relation
            using errcode = 'wrong_object_type', hint = 'Use declarative partitioning, or a table of its own.';
    end if;
end $$;

-- Raises for a relation that this role may not watch, or use as a companion.
create or replace function sidecar_internal.check_owner(relation regclass) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    owner constant oid := (select c.relowner from pg_class c where c.oid = relation);
begin
    if not pg_has_role(owner, 'usage') then
        raise exception 'only the owner of % can watch it, and role "%" is not its owner', relation, current_user
            using errcode = 'insufficient_privilege', hint = format('Let %I call this: set role %1$I;', pg_get_userbyid(owner));
    end if;
end $$;

-- The kind of a source, 'text' or 'image', from the columns' types. An explicit kind must agree with them.
create or replace function sidecar_internal.kind_of_source(relation regclass, source text[], kind text) returns text
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
        kinds := kinds || sidecar_internal.kind_of_column(relation, name);
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

-- The kind of one source column. Raises for a type that holds neither text nor pictures.
create or replace function sidecar_internal.kind_of_column(relation regclass, name text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    source record;
begin
    select b.type, b.printed, t.typcategory into source
        from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b join pg_type t on t.oid = b.type
        where a.attrelid = relation and a.attname = name and a.attnum > 0 and not a.attisdropped;
    if not found then
        raise exception 'table % has no column %', relation, quote_literal(name)
            using errcode = 'undefined_column', hint = sidecar_internal.did_you_mean_column(name, relation)
                                                  || 'Column names are case-sensitive here: give them as \d shows them.';
    elsif source.type = 'bytea'::regtype then
        return 'image';
    elsif source.typcategory = 'S' then
        return 'text';
    end if;
    raise exception 'column %.% has type %, which holds neither text nor pictures', relation, quote_ident(name), source.printed
        using errcode = 'datatype_mismatch',
              hint = 'A source is a text column, or a bytea column that holds picture files. Of other types make a generated '
                     'column: alter table ... add column ... text generated always as (...) stored;';
end $$;

-- The number of rows of a table: counted if that is cheap or `exact`, else estimated as the planner does, by rows per page at
-- the last ANALYZE times the present pages; also estimated if our role may not read it. Partitions that were never analysed are
-- taken to be as dense as the others; a table that never was is counted up to 256 MB. A tree of many partitions is never
-- counted unless `exact`: that would lock all of it.
create or replace function sidecar_internal.count_rows(relation regclass, exact boolean, out n bigint, out estimated boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    page_bytes constant double precision := current_setting('block_size')::integer;
    leaves oid[] := array[relation];
    leaf record;
    known_rows double precision := 0;
    known_pages double precision := 0;
    unknown_pages double precision := 0;
    largest_unknown regclass;
    most_pages double precision := 0;
    bytes double precision;
begin
    if (select c.relkind = 'p' from pg_class c where c.oid = count_rows.relation) then
        leaves := array(select t.home from sidecar_internal.tree_of(count_rows.relation) t where t.is_leaf);
    end if;
    -- One by one, with a cached plan: a join would read all of pg_class, and an aggregate be planned again for each watch.
    for leaf in select l.oid from unnest(leaves) l(oid) loop
        select c.oid, c.reltuples, c.relpages, pg_relation_size(c.oid) / page_bytes as pages into leaf
            from pg_class c where c.oid = leaf.oid and c.relkind = 'r';
        if leaf.reltuples >= 0 and leaf.relpages > 0 then
            known_rows := known_rows + leaf.reltuples * leaf.pages / leaf.relpages;
            known_pages := known_pages + leaf.pages;
        elsif leaf.pages > 0 then
            unknown_pages := unknown_pages + leaf.pages;
            if leaf.pages > most_pages then
                most_pages := leaf.pages;
                largest_unknown := leaf.oid;
            end if;
        end if;
    end loop;
    bytes := (known_pages + unknown_pages) * page_bytes;
    estimated := not sidecar_internal.may_count(relation)
        or (not exact and (bytes > case when known_pages > 0 then 16 else 256 end * 1024 * 1024 or cardinality(leaves) > 100));
    if not estimated then
        execute format('select count(*) from %s', relation) into n;
    else
        n := known_rows + case when unknown_pages = 0 then 0 when known_pages > 0 then unknown_pages * known_rows / known_pages
                               else unknown_pages * sidecar_internal.sample_rows_per_page(largest_unknown) end;
    end if;
end $$;

-- Rows per page of a table that was never analysed, from a few hundred of its pages.
create or replace function sidecar_internal.sample_rows_per_page(relation regclass) returns double precision
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    pages constant double precision := greatest(pg_relation_size(relation) / current_setting('block_size')::integer, 1);
    share constant double precision := least(1, 256 / pages);
    rows bigint;
begin
    if not sidecar_internal.may_count(relation) then
        return 10;
    end if;
    execute format('select count(*) from %s tablesample system (%s) repeatable (0)', relation, 100 * share) into rows;
    return rows / (pages * share);
end $$;

-- The table itself, or all tables of a partition tree, roots first. `parent` is NULL for the topmost. From the catalog:
-- pg_partition_tree would lock each of the partitions, which may be thousands.
create or replace function sidecar_internal.tree_of(relation regclass, out home regclass, out parent regclass, out is_leaf boolean, out level integer)
returns setof record language sql stable set search_path = pg_catalog, pg_temp as $$
    with recursive tree(home, parent, kind, level) as (
        select c.oid, null::oid, c.relkind, 0 from pg_class c where c.oid = tree_of.relation and c.relkind in ('r', 'p')
        union all
        select c.oid, t.home, c.relkind, t.level + 1
            from tree t cross join lateral (
                select x.oid, x.relkind from pg_inherits i cross join lateral (select y.oid, y.relkind from pg_class y where y.oid = i.inhrelid offset 0) x
                where i.inhparent = t.home offset 0) c
            where t.kind = 'p'
    )
    select t.home, t.parent, t.kind <> 'p', t.level from tree t order by t.level, t.home;
$$;

-- True for a parent or child of table inheritance. A primary key does not cover the children: two rows may have the same key.
create or replace function sidecar_internal.inherits(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_inherits i join pg_class p on p.oid = i.inhparent
                   where p.relkind = 'r' and inherits.relation in (i.inhparent, i.inhrelid));
$$;

-- Raises if the watched row cannot hold the vector: it cannot get the column, or another watch or a rule would write it.
create or replace function sidecar_internal.check_target_row(w sidecar_internal.watches) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    class record;
    rule name := (select r.rulename from pg_rewrite r where r.ev_class = w.relation and r.ev_type = '2' limit 1);
    other sidecar_internal.watches;
    companion constant text := 'keep the vectors in a table of their own: companion => ''some_table''.';
begin
    select c.relispartition, c.reloftype <> 0 as is_typed into class from pg_class c where c.oid = w.relation;
    if rule is not null then
        raise exception 'rule % rewrites updates of %, so no vector can be written', quote_ident(rule), w.relation
            using errcode = 'feature_not_supported', hint = 'Use a trigger in place of the rule, or ' || companion;
    elsif (class.relispartition or class.is_typed) and sidecar_internal.target_is_missing(w) then
        raise exception '% cannot get a column % of its own: it is %', w.relation, quote_literal(w.target),
            case when class.is_typed then 'a typed table' else 'a partition' end
            using errcode = 'wrong_object_type', hint = case when class.is_typed then 'Alter its type first, or '
                else format('Watch %s, or ', pg_partition_root(w.relation)) end || companion;
    end if;
    select x.* into other from sidecar_internal.watches x
        where x.unwatched_at is null and x.companion is null and x.target = w.target and x.relation <> w.relation
          and x.relation in (select a.relid from pg_partition_ancestors(w.relation) a
                             union all select t.home from sidecar_internal.tree_of(w.relation) t) limit 1;
    if found then
        raise exception 'column % of % holds the vectors of the watch on %', quote_literal(w.target), w.relation, other.relation
            using errcode = 'duplicate_object',
                  hint = format('End that one first: select sidecar.unwatch(%L, %L); or %s', other.relation, w.target, companion);
    end if;
end $$;

-- True if row-level security hides rows of a table from a role, as Postgres decides it (BYPASSRLS is not inherited).
create or replace function sidecar_internal.rls_hides(relation regclass, role name) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_class c, pg_roles r
                   where c.oid = rls_hides.relation and r.rolname = rls_hides.role and c.relrowsecurity
                     and not (r.rolsuper or r.rolbypassrls)
                     and (c.relforcerowsecurity or not pg_has_role(r.oid, c.relowner, 'usage')));
$$;

-- Raises for a table that hides rows from a sidecar's role, before anything is changed: hidden rows would look deleted. Warns
-- if no such role is known yet.
create or replace function sidecar_internal.check_row_security(relation regclass) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    role name;
begin
    for role in select pg_get_userbyid(r.role) from sidecar_internal.roles() r where r.kind = 'worker'
                union select s.role from sidecar_internal.sidecars s where s.seen_at > clock_timestamp() - interval '30 s' loop
        if sidecar_internal.rls_hides(relation, role) then
            raise exception 'row-level security of % hides rows from role %, which the sidecar runs as', relation, quote_ident(role)
                using errcode = 'insufficient_privilege',
                      hint = format('Run: alter role %I bypassrls; or let the sidecar run as the owner of the table, without '
                                    'FORCE ROW LEVEL SECURITY.', role);
        end if;
    end loop;
    if role is null and (select c.relrowsecurity from pg_class c where c.oid = relation) then
        raise warning 'table % has row-level security', relation
            using hint = 'The sidecar has to run as a role with BYPASSRLS, or as the owner without FORCE ROW LEVEL SECURITY.';
    end if;
end $$;

-- True if our role may read the whole table and doing so calls no user's code, such as the function of a policy.
create or replace function sidecar_internal.may_count(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select has_schema_privilege(c.relnamespace, 'usage') and has_any_column_privilege(c.oid, 'select') and not row_security_active(c.oid)
        from pg_class c where c.oid = relation;
$$;
