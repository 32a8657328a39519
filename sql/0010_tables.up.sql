-- Tables of every shape: partition trees and their indexes, inheritance, and places that cannot hold a vector.

-- The table itself, or every table of a partition tree, roots first. `parent` is NULL for the topmost.
create function sidecar.tree_of(relation regclass, out home regclass, out parent regclass, out is_leaf boolean, out level integer)
returns setof record language sql stable set search_path = pg_catalog, pg_temp as $$
    select p.relid, case when p.level > 0 then p.parentrelid end, p.isleaf, p.level
        from pg_partition_tree(tree_of.relation) p
    union all
    select c.oid, null, true, 0 from pg_class c where c.oid = tree_of.relation and c.relkind = 'r' and not c.relispartition
    order by level, 1;
$$;

-- A primary key does not cover the children of an inheritance parent: two rows may have the same key.
create function sidecar.inherits(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_inherits i join pg_class p on p.oid = i.inhparent
                   where p.relkind = 'r' and inherits.relation in (i.inhparent, i.inhrelid));
$$;

-- Refuses what cannot be watched, or not by this role.
create or replace function sidecar.check_relation(relation regclass) returns void
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
    elsif sidecar.inherits(relation) then
        raise exception '% takes part in table inheritance, where a primary key does not cover the children', relation
            using errcode = 'wrong_object_type', hint = 'Use declarative partitioning, or a table of its own.';
    elsif not pg_has_role(class.relowner, 'usage') then
        raise exception 'only the owner of % can watch it, and role "%" is not', relation, current_user
            using errcode = 'insufficient_privilege',
                  hint = format('Let %I call this: set role %1$I;', pg_get_userbyid(class.relowner));
    end if;
end $$;

-- Refuses a row that cannot hold the vector: it would get no column, or another watch or a rule would write it.
create function sidecar.check_place(w sidecar.watches) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    class record;
    rule name := (select r.rulename from pg_rewrite r where r.ev_class = w.relation and r.ev_type = '2' limit 1);
    other sidecar.watches;
    companion constant text := 'keep the vectors in a table of their own: companion => ''some_table''.';
begin
    select c.relispartition, c.reloftype <> 0 as is_typed into class from pg_class c where c.oid = w.relation;
    if rule is not null then
        raise exception 'rule % rewrites updates of %, so no vector can be written', quote_ident(rule), w.relation
            using errcode = 'feature_not_supported', hint = 'Use a trigger in place of the rule, or ' || companion;
    elsif (class.relispartition or class.is_typed) and sidecar.target_is_missing(w) then
        raise exception '% cannot get a column % of its own: it is %', w.relation, quote_literal(w.target),
            case when class.is_typed then 'a typed table' else 'a partition' end
            using errcode = 'wrong_object_type', hint = case when class.is_typed then 'Alter its type first, or '
                else format('Watch %s, or ', pg_partition_root(w.relation)) end || companion;
    end if;
    select x.* into other from sidecar.watches x
        where x.unwatched_at is null and x.companion is null and x.target = w.target and x.relation <> w.relation
          and x.relation in (select a.relid from pg_partition_ancestors(w.relation) a
                             union all select t.home from sidecar.tree_of(w.relation) t) limit 1;
    if found then
        raise exception 'column % of % holds the vectors of the watch on %', quote_literal(w.target), w.relation, other.relation
            using errcode = 'duplicate_object',
                  hint = format('End that one first: select sidecar.unwatch(%L, %L); or %s', other.relation, w.target, companion);
    end if;
end $$;

create or replace function sidecar.kind_of_column(relation regclass, name text) returns text
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
        using errcode = 'datatype_mismatch',
              hint = 'A source is a text column, or a bytea column that holds picture files. Of other types make a generated '
                     'column: alter table … add column … text generated always as (…) stored;';
end $$;

-- Whether logical replication writes to the table, a partition of it, or through the tree it is part of: triggers fire
-- then only if they are ENABLE ALWAYS.
create or replace function sidecar.is_subscribed(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_subscription_rel s where s.srrelid in (
        select is_subscribed.relation union all select p.relid from pg_partition_tree(is_subscribed.relation) p
        union all select a.relid from pg_partition_ancestors(is_subscribed.relation) a));
$$;

-- Whether a partition has lost a copy of the root's triggers, or somebody disabled it there.
create function sidecar.partition_lacks_trigger(w sidecar.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (
        select from sidecar.triggers_of(w) t
        join pg_trigger root on root.tgrelid = t.home and root.tgname = t.name
        cross join lateral pg_partition_tree(t.home) p
        left join pg_trigger copy on copy.tgrelid = p.relid and copy.tgname = t.name
        where t.for_row and p.level > 0 and copy.tgenabled is distinct from root.tgenabled);
$$;

-- Whether all triggers stand and fire, in the shape that the table needs now: it may have got a BEFORE trigger since,
-- become a partition, or been inherited from.
create or replace function sidecar.triggers_fit(w sidecar.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select count(*) = 5 and bool_and(
        case when t.name like '%\_update' then t.names_columns <> sidecar.changes_unnamed(w)
             when t.name ~ '_(insert|delete)$' then t.for_row or not sidecar.needs_row_triggers(w.relation)
             else true end)
        and not sidecar.partition_lacks_trigger(w) and not sidecar.inherits(w.relation)
        from sidecar.triggers_of(w) t where t.fires;
$$;

-- The HNSW indexes on `home` that the documented query of a watch can use. `parent`: the index it is a partition of.
create function sidecar.usable_indexes(w sidecar.watches, home regclass, out index regclass, out valid boolean, out parent regclass)
returns setof record language sql stable set search_path = pg_catalog, pg_temp as $$
    select i.indexrelid, i.indisvalid, h.inhparent
        from pg_index i
        join pg_class c on c.oid = i.indexrelid
        join pg_am am on am.oid = c.relam and am.amname = 'hnsw'
        join pg_opclass o on o.oid = i.indclass[0] and o.opcname = w.index_kind || '_cosine_ops'
        join pg_attribute a on a.attrelid = i.indrelid and a.attname = w.target
        left join pg_inherits h on h.inhrelid = i.indexrelid
        where i.indrelid = usable_indexes.home and i.indpred is null
          and exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                      and d.refobjid = i.indrelid and d.refobjsubid = a.attnum);
$$;

-- The HNSW index that the documented query of a watch uses, valid or not. Prefers a valid one.
create or replace function sidecar.find_index(home regclass, target text, out index regclass, out valid boolean)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select i.index, i.valid
        from sidecar.watches w cross join lateral sidecar.usable_indexes(w, find_index.home) i
        where coalesce(w.companion, w.relation) = find_index.home and w.target = find_index.target
        order by i.valid desc, i.index limit 1;
$$;

-- products_photo_embedding_hnsw_1; with the table's OID in it where that is too long, and so might be another partition's
-- too, or is taken by anything but `replaced`.
create function sidecar.index_name(w sidecar.watches, home regclass, replaced regclass) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    class record;
    suffix text := '_hnsw_' || w.id;
    stem text;
begin
    select c.relname || '_' || w.target as stem, n.nspname into class
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = home;
    stem := class.stem;
    if octet_length(stem || suffix) > 63 or to_regclass(format('%I.%I', class.nspname, stem || suffix)) <> replaced then
        suffix := format('_%s_hnsw_%s', to_hex(home::oid::bigint), w.id);
    end if;
    while octet_length(stem || suffix) > 63 loop
        stem := left(stem, -1);
    end loop;
    return stem || suffix;
end $$;

-- What is left to do for a valid HNSW index, in order: the index keeper runs these one by one. None for index 'none', and
-- where the table is gone. A partition tree gets an index on each of its inner tables, which later partitions inherit,
-- and one on each leaf, built concurrently and attached; when the last one is, the indexes above become valid.
create function sidecar.index_steps(w sidecar.watches) returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    top constant regclass := coalesce(w.companion, w.relation);
    ext constant text := quote_ident(sidecar.vector_schema());
    key constant text := case w.index_kind
        when 'halfvec' then format('((%I::%s.halfvec(%s)) %s.halfvec_cosine_ops)', w.target, ext, w.dimensions, ext)
        when 'vector' then format('(%I %s.vector_cosine_ops)', w.target, ext) end;
    indexes jsonb := '{}';  -- table → its index, quoted
    t record;
    i record;
    name text;
begin
    if key is null or (sidecar.find_index(top, w.target)).valid then
        return;
    end if;
    for t in select x.*, n.nspname from sidecar.tree_of(top) x
             join pg_class c on c.oid = x.home join pg_namespace n on n.oid = c.relnamespace order by x.level, x.home loop
        select u.index, u.valid, t.parent is not null and u.parent is not null as is_attached into i
            from sidecar.usable_indexes(w, t.home) u order by u.parent is not null desc, u.valid desc, u.index limit 1;
        name := case when i.index is not null then i.index::text end;
        if t.is_leaf and not i.valid and i.is_attached then
            return next 'reindex index concurrently ' || name;
        elsif i.index is null or (t.is_leaf and not i.valid) then
            if i.index is not null then
                return next 'drop index concurrently if exists ' || name;
            end if;
            name := sidecar.index_name(w, t.home, coalesce(i.index, 0::oid::regclass));
            return next format(case when t.is_leaf then 'create index concurrently %I on %s using hnsw %s'
                               else 'create index %I on only %s using hnsw %s' end, name, t.home, key);
            name := format('%I.%I', t.nspname, name);
        end if;
        if t.parent is not null and not coalesce(i.is_attached, false) then
            return next format('alter index %s attach partition %s', indexes->>t.parent::oid::text, name);
        end if;
        indexes := indexes || jsonb_build_object(t.home::oid::text, name);
    end loop;
end $$;

-- The same as one script, for an owner to run in psql. NULL where nothing is left to do.
create or replace function sidecar.index_statement(w sidecar.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(s.step, E';\n' order by s.number) from sidecar.index_steps(w) with ordinality s(step, number);
$$;

-- Of the leaves of a partition tree, how many have their index. NULL for an ordinary table.
create function sidecar.count_leaf_indexes(w sidecar.watches, out leaves bigint, out built bigint)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select nullif(count(*), 0), count(*) filter (where exists (select from sidecar.usable_indexes(w, t.home) u where u.valid))
        from sidecar.tree_of(coalesce(w.companion, w.relation)) t where t.is_leaf and t.parent is not null;
$$;

-- It has no key, and a publication FOR ALL TABLES would let nobody delete from it.
alter table sidecar.breakages replica identity full;

revoke all on all functions in schema sidecar from public;
