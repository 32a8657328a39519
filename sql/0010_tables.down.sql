-- Undoes 0010_tables.up.sql: the functions it replaced are what they were.
alter table sidecar.breakages replica identity default;
drop function sidecar.count_leaf_indexes(sidecar.watches);

create or replace function sidecar.index_statement(w sidecar.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    home regclass := coalesce(w.companion, w.relation);
    suffix text := '_hnsw_' || w.id;
    stem text := (select c.relname || '_' || w.target from pg_class c where c.oid = home);
    ext text := quote_ident(sidecar.vector_schema());
begin
    if w.index_kind = 'none' or stem is null then
        return null;
    end if;
    while octet_length(stem || suffix) > 63 loop
        stem := left(stem, -1);
    end loop;
    return format('create index concurrently %I on %s using hnsw ', stem || suffix, home) || case w.index_kind
        when 'halfvec' then format('((%I::%s.halfvec(%s)) %s.halfvec_cosine_ops)', w.target, ext, w.dimensions, ext)
        when 'vector' then format('(%I %s.vector_cosine_ops)', w.target, ext)
        end;
end $$;

create or replace function sidecar.find_index(home regclass, target text, out index regclass, out valid boolean)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select i.indexrelid::regclass, i.indisvalid
        from sidecar.watches w
        join pg_index i on i.indrelid = home and i.indpred is null
        join pg_class c on c.oid = i.indexrelid
        join pg_am am on am.oid = c.relam and am.amname = 'hnsw'
        join pg_opclass o on o.oid = i.indclass[0] and o.opcname = w.index_kind || '_cosine_ops'
        join pg_attribute a on a.attrelid = i.indrelid and a.attname = find_index.target
        where coalesce(w.companion, w.relation) = home and w.target = find_index.target
          and exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                      and d.refobjid = home and d.refobjsubid = a.attnum)
        order by i.indisvalid desc, i.indexrelid limit 1;
$$;

create or replace function sidecar.triggers_fit(w sidecar.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select count(*) = 5 and bool_and(
        case when t.name like '%\_update' then t.names_columns <> sidecar.changes_unnamed(w)
             when t.name ~ '_(insert|delete)$' then t.for_row or not sidecar.needs_row_triggers(w.relation)
             else true end)
        from sidecar.triggers_of(w) t where t.fires;
$$;

create or replace function sidecar.is_subscribed(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_subscription_rel s where s.srrelid in (
        select is_subscribed.relation union all select p.relid from pg_partition_tree(is_subscribed.relation) p));
$$;

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
        using errcode = 'datatype_mismatch', hint = 'A source is a text column, or a bytea column that holds picture files.';
end $$;

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

drop function sidecar.index_steps(sidecar.watches);
drop function sidecar.index_name(sidecar.watches, regclass, regclass);
drop function sidecar.usable_indexes(sidecar.watches, regclass);
drop function sidecar.partition_lacks_trigger(sidecar.watches);
drop function sidecar.check_place(sidecar.watches);
drop function sidecar.inherits(regclass);
drop function sidecar.tree_of(regclass);
