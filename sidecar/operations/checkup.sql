-- Statements of checkup.py beside the checks themselves (checks.sql).

-- name: server
-- One row, with NULLs where pgvector is not installed.
select current_setting('server_version'), e.extversion, n.nspname
from (select) nothing
left join pg_extension e on e.extname = 'vector'
left join pg_namespace n on n.oid = e.extnamespace

-- name: clock
select extract(epoch from clock_timestamp())::float8

-- name: sees_other_roles
-- Whether pg_stat_activity shows the transactions of other roles.
select pg_has_role('pg_read_all_stats', 'usage')

-- name: limit_check
-- For the transaction of one check; its time limit, with its unit, is the parameter.
select set_config('transaction_read_only', 'on', true), set_config('statement_timeout', $1, true),
       set_config('lock_timeout', '1s', true), set_config('search_path', 'pg_catalog, pg_temp', true)

-- name: closed_schema
-- A schema of ours that this role may not use.
select current_user, n.nspname from pg_namespace n
where n.nspname in ('sidecar', 'sidecar_internal') and not has_schema_privilege(n.oid, 'usage') order by n.nspname limit 1
