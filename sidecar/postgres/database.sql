-- The session of the running sidecar: statements of database.py, vectors.py and listener.py.

-- name: prepare_session
-- Whether the session keeps the settings it was opened with; behind a pooler it does not. transaction_timeout, which servers
-- before 17 do not know, is set here.
select current_setting('sidecar.writer', true) = 'on',
       case when current_setting('server_version_num')::integer >= 170000 then set_config('transaction_timeout', '0', false) end

-- name: pgvector_schema
-- The schema of the types vector and halfvec; no row without pgvector.
select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'

-- name: ping
-- Whether this session cannot write.
select current_setting('transaction_read_only')::boolean
