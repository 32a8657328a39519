-- Statements of migrations.py, on a connection of its own in autocommit mode. Parameters are psycopg's.

-- name: lift_transaction_timeout
-- The setting exists from Postgres 17 on.
select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout'

-- name: active_watch
-- Sequential scan of a small table.
select from sidecar_internal.watches where unwatched_at is null limit 1
