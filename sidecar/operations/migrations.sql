-- Statements of migrations.py, on a connection of its own in autocommit mode. Parameters are psycopg's.

-- name: lift_transaction_timeout
-- The setting exists from Postgres 17 on.
select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout'

-- name: schema_of_watches
-- Revision 0019 moved the table. NULL where there is none.
select case when to_regclass('sidecar_internal.watches') is not null then 'sidecar_internal'
            when to_regclass('sidecar.watches') is not null then 'sidecar' end

-- name: active_watch
-- Sequential scan of a small table in {schema}.
select from {schema}.watches where unwatched_at is null limit 1
