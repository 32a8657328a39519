-- Statements of tables.py and prospect.py, run by the service's role with the search_path pg_catalog. They only read.

-- name: list
-- At most $2 tables that this role may read, whose name or schema.name, quoted or not, begins with $1. Sizes are of the catalogue and the files;
-- a table that is locked exclusively has none, for pg_total_relation_size would wait. `rows`: as at the last ANALYZE, grown with
-- the table; NULL where it is not known. Reads pg_class from end to end.
with locked as materialized (
    select l.relation from pg_locks l
    where l.mode = 'AccessExclusiveLock' and l.database = (select d.oid from pg_database d where d.datname = current_database())
), found as materialized (
    select c.oid, n.nspname, c.relname, c.relowner
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and c.relpersistence <> 't'
      and n.nspname <> all (array['pg_catalog', 'information_schema', 'pg_toast', 'sidecar', 'sidecar_internal'])
      and has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select')
      and (starts_with(lower(c.relname), lower($1::text)) or starts_with(lower(n.nspname || '.' || c.relname), lower($1::text))
           or starts_with(quote_ident(c.relname), $1::text) or starts_with(c.oid::regclass::text, $1::text))
      and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
      and not exists (select from sidecar_internal.watches w where w.companion = c.oid)
      and (not c.relispartition or exists (select from sidecar_internal.watches w where w.relation = c.oid and w.unwatched_at is null))
    order by n.nspname, c.relname limit $2::integer
)
select f.oid::regclass::text as table, pg_get_userbyid(f.relowner)::text as owner, s.rows, s.bytes,
       p.message as problem, p.hint, p.code as sqlstate,
       coalesce((select array_agg(a.attname::text order by k.position)
                 from pg_constraint x cross join unnest(x.conkey) with ordinality k(number, position)
                 join pg_attribute a on a.attrelid = x.conrelid and a.attnum = k.number
                 where x.conrelid = f.oid and x.contype = 'p'), '{}') as key_columns,
       coalesce((select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                                                   'kind', case when b.type = 'bytea'::regtype then 'image'
                                                                when t.typcategory = 'S' then 'text' end) order by a.attnum)
                 from pg_attribute a cross join lateral sidecar_internal.base_type(a.atttypid, a.atttypmod) b
                 join pg_type t on t.oid = b.type
                 where a.attrelid = f.oid and a.attnum > 0 and not a.attisdropped and has_column_privilege(f.oid, a.attnum, 'select')),
                '[]') as columns,
       coalesce((select array_agg(w.target order by w.id) from sidecar_internal.watches w
                 where w.relation = f.oid and w.unwatched_at is null), '{}') as watches
from found f
cross join lateral sidecar_internal.table_problem(f.oid) p
cross join lateral (
    select sum(pg_total_relation_size(c.oid))::bigint as bytes,
           case when bool_and(c.reltuples >= 0) filter (where c.relkind = 'r')
                then sum(c.reltuples * case when c.relpages = 0 then 1
                                            else pg_relation_size(c.oid) / (c.relpages * current_setting('block_size')::double precision) end)
                         filter (where c.relkind = 'r') end::bigint as rows
    from sidecar_internal.tree_of(f.oid) t join pg_class c on c.oid = t.home
    where not exists (select from locked l join sidecar_internal.tree_of(f.oid) u on u.home = l.relation)
) s
order by f.nspname, f.relname

-- name: oid
-- Of the table that a name means in the search_path of the service's role. Calls nothing that could be another user's.
select $1::pg_catalog.regclass::pg_catalog.oid

-- name: table
select c.oid::regclass::text as name, c.relkind::text as kind,
       n.nspname = any (array['pg_catalog', 'information_schema', 'pg_toast', 'sidecar', 'sidecar_internal']) as is_internal,
       pg_get_userbyid(c.relowner)::text as owner, k.keys, k.quoted_keys
from pg_class c join pg_namespace n on n.oid = c.relnamespace
cross join lateral (
    select coalesce(array_agg(a.attname::text order by u.position), '{}') as keys,
           coalesce(array_agg(quote_ident(a.attname) order by u.position), '{}') as quoted_keys
    from pg_constraint x cross join unnest(x.conkey) with ordinality u(number, position)
    join pg_attribute a on a.attrelid = x.conrelid and a.attnum = u.number
    where x.conrelid = c.oid and x.contype = 'p'
) k
where c.oid = $1::oid

-- name: preview_text
-- The first rows that a sequential scan meets, with the beginning of their texts.
select array[{keys}]::text[], left(x.content, {chars}), octet_length(x.content)::bigint, null::bytea
from {table} t cross join lateral (select nullif(concat_ws(' ', {source}), '') as content) x limit {rows}

-- name: preview_image
-- As preview_text, with the beginning of the pictures' files, by which their format is recognised.
select array[{keys}]::text[], null::text, octet_length({source})::bigint, substring({source} from 1 for {head_bytes})
from {table} t limit {rows}
