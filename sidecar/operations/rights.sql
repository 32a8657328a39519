-- Statements of rights.py. They read catalogues only, so any role may run them.

-- name: schema_owners
-- Owners of schemas `sidecar` and `sidecar_internal`, in this order: whether they are superusers, and whether this role may act
-- for them. No row for a schema that is missing.
select n.nspname::text as schema, current_user::text as role, quote_ident(current_user) as quoted_role, quote_ident(r.rolname) as owner,
       r.rolname::text as owner_name, r.rolsuper as is_superuser, pg_has_role(r.oid, 'usage') as is_member
from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname in ('sidecar', 'sidecar_internal') order by n.nspname

-- name: table_owners
-- Owners of the tables that a user may mean by this name.
select distinct quote_ident(r.rolname) as owner, r.rolname::text as owner_name, r.rolsuper as is_superuser,
       pg_has_role(r.oid, 'usage') as is_member, format('%I.%I', n.nspname, c.relname) as name, quote_ident(n.nspname) as schema
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.oid = c.relowner
cross join (select parse_ident($1) as parts) p
where c.relkind in ('r', 'p') and c.relname = p.parts[cardinality(p.parts)]
  and (cardinality(p.parts) = 1 or n.nspname = p.parts[1]) and n.nspname not in ('pg_catalog', 'information_schema')

-- name: namespace
-- Owner of a schema, whose right of USAGE this role lacks.
select quote_ident(r.rolname) as owner, quote_ident(n.nspname) as schema, quote_ident(current_user) as role
from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = $1 and n.nspname not in ('sidecar', 'sidecar_internal')

-- name: database
select quote_ident(current_database()) as name, quote_ident(current_user) as role, has_database_privilege(current_database(), 'create') as may_create
