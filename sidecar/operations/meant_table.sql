-- Statements of meant_table.py, with the user's own rights and search_path. Read-only.

-- name: is_watch
-- The pattern is that of to_regclass, which raises for more than two parts.
select 1 from sidecar_internal.watches w
where w.unwatched_at is null and w.relation = to_regclass($1) and w.target = btrim($2, '"')

-- name: tables
-- Bare names, and what to write for them in this session.
select c.relname, c.oid::regclass::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^(pg_|information_schema$|sidecar(_internal)?$)'
order by pg_table_is_visible(c.oid), c.relname
