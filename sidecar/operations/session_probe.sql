-- Statements of session_probe.py, on sessions that may lead through a pooler. They need no schema `sidecar`. Whatever the search_path, they call
-- nothing of a user's.

-- name: server_address
-- Both NULL on a Unix socket.
select array[pg_catalog.host(pg_catalog.inet_server_addr()), pg_catalog.inet_server_port()::pg_catalog.text]

-- name: backend
select pg_catalog.pg_backend_pid()

-- name: notify
select pg_catalog.pg_notify(%s, '')
