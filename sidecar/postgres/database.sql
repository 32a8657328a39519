-- Statements of database.py, listener.py and work.py.

-- name: prepare_session
-- Whether the session keeps what was set as it began; a pooler's does not. What servers before 17 do not know is set here.
select current_setting('sidecar.writer', true) = 'on',
       case when current_setting('server_version_num')::integer >= 170000 then set_config('transaction_timeout', '0', false) end

-- name: ping
-- Whether the server takes no writes from this session.
select current_setting('transaction_read_only')::boolean
