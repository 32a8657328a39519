-- name: has_example
select to_regclass('public.emoji') is not null

-- name: mark_example
-- Whether the table is the demo's, so that --fresh may drop it. Earlier demos' tables have no comment, but an identity that
-- begins at 10001.
do $$
begin
    if exists (select from pg_class c
               join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and d.deptype = 'i'
               join pg_sequence s on d.classid = 'pg_class'::regclass and s.seqrelid = d.objid and s.seqstart = 10001
               where c.oid = to_regclass('public.emoji') and obj_description(c.oid, 'pg_class') is null
                   and 5 = (select count(*) from pg_attribute a where a.attrelid = c.oid and not a.attisdropped
                            and a.attname in ('emoji', 'name', 'category', 'keywords', 'picture'))) then
        comment on table public.emoji is 'The example of `sidecar demo`, which drops it if it is started with --fresh.';
    end if;
end $$

-- name: is_example
select obj_description(to_regclass('public.emoji'), 'pg_class') like 'The example of `sidecar demo`%'

-- name: unwatch_example
select sidecar.unwatch(relation, target) from sidecar.status where relation = 'public.emoji'::regclass

-- name: drop_example
drop table public.emoji

-- name: foreign_objects
-- What the demo did not make: everything but its table, the schemas of the sidecar and pgvector.
with schemas as (
    select n.oid, n.nspname from pg_namespace n
        where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'sidecar', 'sidecar_internal')
            and not exists (select from pg_depend d
                            where d.classid = 'pg_namespace'::regclass and d.objid = n.oid and d.deptype = 'e')
), of_extensions as (
    select d.classid, d.objid from pg_depend d where d.deptype = 'e'
)
select 1 as place, 'database ' || quote_ident(datname) as name, pg_database_size(oid) as bytes from pg_database
    where datname not in (current_database(), 'template0', 'template1')
union all
select 2, 'role ' || quote_ident(rolname), null from pg_roles where rolname <> current_user and rolname !~ '^pg_'
union all
select 3, 'extension ' || quote_ident(extname), null from pg_extension where extname not in ('plpgsql', 'vector')
union all
select 4, 'schema ' || quote_ident(nspname), null from schemas where nspname <> 'public'
union all
select 5, case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
                         when 'f' then 'foreign table' else 'table' end || format(' %I.%I', s.nspname, c.relname),
       case when c.relkind in ('r', 'm') then pg_total_relation_size(c.oid) end
    from pg_class c join schemas s on s.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and not c.relispartition
        and ('pg_class'::regclass, c.oid) not in (select classid, objid from of_extensions)
        and not exists (select from pg_depend d
                        where c.relkind = 'S' and d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i'))
        and (c.oid is distinct from to_regclass('public.emoji')
             or obj_description(c.oid, 'pg_class') is null
             or obj_description(c.oid, 'pg_class') not like 'The example of `sidecar demo`%')
union all
select 6, case p.prokind when 'p' then 'procedure ' else 'function ' end || p.oid::regprocedure, null
    from pg_proc p join schemas s on s.oid = p.pronamespace
    where ('pg_proc'::regclass, p.oid) not in (select classid, objid from of_extensions)
union all
select 7, 'type ' || format_type(t.oid, null), null
    from pg_type t join schemas s on s.oid = t.typnamespace
    where (t.typtype in ('e', 'd', 'r') or t.typtype = 'c' and exists (select from pg_class c
                                                                     where c.oid = t.typrelid and c.relkind = 'c'))
        and ('pg_type'::regclass, t.oid) not in (select classid, objid from of_extensions)
union all
select 8, 'publication ' || quote_ident(pubname), null from pg_publication
union all
select 9, count(*) || ' large object' || case when count(*) > 1 then 's' else '' end, null
    from pg_largeobject_metadata having count(*) > 0
order by 1, 2

-- name: foreign_parts
-- What others added to the demo's table. 20001 is the row that earlier demos suggested to insert.
select 1, 'column emoji.' || quote_ident(attname) from pg_attribute
    where attrelid = 'public.emoji'::regclass and attnum > 0 and not attisdropped
        and attname not in ('id', 'emoji', 'name', 'category', 'keywords', 'picture', 'name_embedding', 'picture_embedding')
union all
select 3, 'trigger ' || quote_ident(tgname) || ' on emoji' from pg_trigger
    where tgrelid = 'public.emoji'::regclass and not tgisinternal and tgname !~ '^sidecar_'
union all
select 4, count(*) || case when count(*) > 1 then ' rows in emoji' else ' row in emoji' end || ' with an id from 10001 on'
    from public.emoji where id >= 10001 and id <> 20001 having count(*) > 0
order by 1, 2

-- name: create_example
create table public.emoji (
    id       bigint generated by default as identity (start with 10001) primary key,
    emoji    text,
    name     text,
    category text,
    keywords text,
    picture  bytea
)

-- name: comment_example
comment on table public.emoji is 'The example of `sidecar demo`, which drops it if it is started with --fresh.'

-- name: has_status
select to_regclass('sidecar.status') is not null

-- name: foreign_watches
select 'watch of emoji.' || quote_ident(target) from sidecar.status
    where relation = 'public.emoji'::regclass and target not in ('name_embedding', 'picture_embedding')

-- name: copy_example
copy public.emoji (id, emoji, name, category, keywords, picture) from stdin

-- name: watch_example
select sidecar.watch('public.emoji', source => %s, target => %s, expose => %s)

-- name: watches_of_other_models
select relation::text, target, model from sidecar.status where fingerprint <> %s

-- name: reembed
-- By any model: a watch pinned to this version's model would be stranded by the next version's.
select sidecar.reembed(%s::text::regclass, %s, model => 'any')
