-- Statements of session_probe.py, on sessions that may lead through a pooler. They need no schema `sidecar`.

-- name: server_address
-- Both NULL on a Unix socket.
select array[host(inet_server_addr()), inet_server_port()::text]

-- name: backend
select pg_backend_pid()

-- name: notify
select pg_notify(%s, '')
