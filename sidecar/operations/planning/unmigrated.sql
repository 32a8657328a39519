-- Statements of unmigrated.py, for a database without schema `sidecar`, or with an older one. They only read, with the user's
-- own rights. Only `resolve` has their search_path, and calls nothing that could be another user's; its `oid` is $1 of the others.
-- {table} and {content} come quoted from other statements here.

-- name: resolve
select t.relation::pg_catalog.oid as oid, t.relation::pg_catalog.text as name from (select $1::pg_catalog.regclass) t(relation)

-- name: table
-- The table and its partitions, from the catalogue: no partition is locked. `known_rows`: as at the last ANALYZE, grown with the
-- table; `unknown_pages`: of what was never analysed. `is_readable`: our role may read all rows, and no policy is run.
with recursive tree(oid, kind) as (
    select c.oid, c.relkind from pg_class c where c.oid = $1::regclass
    union all
    select c.oid, c.relkind from tree t join pg_inherits i on i.inhparent = t.oid join pg_class c on c.oid = i.inhrelid
    where t.kind = 'p'
), sizes as (
    select t.kind, c.reltuples, c.relpages, pg_relation_size(t.oid) as bytes, pg_total_relation_size(t.oid) as total_bytes,
           pg_relation_size(t.oid) / current_setting('block_size')::double precision as pages
    from tree t join pg_class c on c.oid = t.oid
)
select $1::regclass::text as quoted, k.relkind::text as kind, k.reltuples >= 0 as is_analysed, s.*,
       has_any_column_privilege($1::regclass, 'select') and not row_security_active($1::regclass) as is_readable,
       exists (select from pg_constraint p where p.conrelid = $1::regclass and p.contype = 'p') as has_key
from pg_class k cross join (
    select sum(s.bytes)::bigint as heap_bytes, sum(s.total_bytes)::bigint as total_bytes,
           count(*) filter (where s.kind = 'r') as leaves,
           coalesce(sum(s.reltuples * s.pages / s.relpages) filter (where s.reltuples >= 0 and s.relpages > 0), 0) as known_rows,
           coalesce(sum(s.pages) filter (where s.reltuples >= 0 and s.relpages > 0), 0) as known_pages,
           coalesce(sum(s.pages) filter (where not (s.reltuples >= 0 and s.relpages > 0)), 0) as unknown_pages
    from sizes s) s
where k.oid = $1::regclass

-- name: columns
-- The types of the source columns, of domains the base types. No row for a column that the table lacks.
with recursive types(name, quoted, type) as (
    select a.attname::text, quote_ident(a.attname), a.atttypid from pg_attribute a
    where a.attrelid = $1::regclass and a.attname = any ($2::text[]) and a.attnum > 0 and not a.attisdropped
    union all
    select s.name, s.quoted, t.typbasetype from types s join pg_type t on t.oid = s.type where t.typtype = 'd'
)
select s.name, s.quoted, format_type(s.type, null) as type,
       case when s.type = 'bytea'::regtype then 'image' when t.typcategory = 'S' then 'text' end as kind
from types s join pg_type t on t.oid = s.type where t.typtype <> 'd'

-- name: names
select a.attname::text as name from pg_attribute a where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped

-- name: pgvector
-- The version of pgvector in this database, else the one that the server would install; NULL where it has none.
select coalesce(installed_version, default_version) as version from pg_available_extensions where name = 'vector'

-- name: count
select count(*) from {table}

-- name: sample_count
select count(*) from {table} tablesample system ({percent}) repeatable (0)

-- name: sample_text
-- {percent} of the pages, {share} of their rows.
select octet_length(nullif(concat_ws(' ', {content}), ''))::bigint, null::bytea
from {table} t tablesample system ({percent}) where random() <= {share}

-- name: sample_image
-- As sample_text, with the beginnings of the pictures' files.
select octet_length({content})::bigint, substring({content} from 1 for {head_bytes})
from {table} t tablesample system ({percent}) where random() <= {share}

-- name: contents_text
-- Whole contents, with the places where they are; as sample_text, but $1 rows at most.
select t.ctid::text, nullif(concat_ws(' ', {content}), '')
from {table} t tablesample system ({percent}) where random() <= {share} limit $1

-- name: contents_image
select t.ctid::text, {content}
from {table} t tablesample system ({percent}) where random() <= {share} and {content} <> '' limit $1

-- name: read_text
-- The contents at the places $1.
select nullif(concat_ws(' ', {content}), '') from {table} t where t.ctid = any ($1::tid[])

-- name: read_image
select {content} from {table} t where t.ctid = any ($1::tid[])
