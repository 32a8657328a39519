-- Statements of migrations.py, on a connection of its own in autocommit mode. Parameters are psycopg's.

-- name: lift_transaction_timeout
-- The setting exists from Postgres 17 on.
select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout'

-- name: active_watch
-- Sequential scan of a small table.
select from sidecar_internal.watches where unwatched_at is null limit 1

-- name: watches_with_old_triggers
-- Sequential scan of a small table; catalog look-ups for each watch.
select w.id, w.relation::text from sidecar_internal.watches w
where w.unwatched_at is null and sidecar_internal.has_old_triggers(w) order by w.id

-- name: limit_lock_wait
-- For the transaction. The parameter has its unit.
select set_config('lock_timeout', %s, true)

-- name: renew_triggers
-- Locks the watched table SHARE ROW EXCLUSIVE: its writers wait.
select sidecar.renew_triggers(%s)
