-- Statements of meant_table.py, with the user's own rights and search_path, by which a table is named. Read-only. Operands have the very
-- types of pg_catalog's operators: one of another user's, in a schema of the search_path, would fit others better.

-- name: is_watch
-- The pattern is that of to_regclass, which raises for more than two parts.
select 1 from sidecar_internal.watches w
where w.unwatched_at is null and w.relation::pg_catalog.oid = pg_catalog.to_regclass($1)::pg_catalog.oid
  and w.target = pg_catalog.btrim($2, '"')

-- name: tables
-- Bare names, and what to write for them in this session.
select c.relname, c.oid::regclass::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname::pg_catalog.text !~ '^(pg_|information_schema$|sidecar(_internal)?$)'
order by pg_catalog.pg_table_is_visible(c.oid), c.relname
