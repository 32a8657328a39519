-- Statements of session_guard.py.

-- name: prepare_guard
-- Ends the guard within a second when its sidecar is gone; where the server's system cannot tell, it ends after a minute.
do $$ begin
    perform set_config('client_connection_check_interval', '1s', false);
exception when invalid_parameter_value then
    null;
end $$

-- name: guard_sessions
-- Runs for ten seconds, or for what session_guard.py puts in their place; each round is a transaction. Reads pg_stat_activity
-- and pg_locks, takes no locks.
-- A session of a sidecar that has waited for 2 s for the rest of a message pipeline holds its transaction's locks, and
-- nothing else would end it. The same goes for an index build that has blocked a statement for 2 s: its sidecar, if awake,
-- would have cancelled it by then. The guard ends only while no session is in that state, however briefly: the next one
-- begins with a guard.
do $guard$
declare
    ends_at timestamptz := clock_timestamp() + interval '10 s';
    waiting boolean;
begin
    loop
        select coalesce(bool_or(true), false) into waiting from pg_stat_activity a
        where a.datname = current_database() and a.usename = current_user and a.application_name = 'sidecar'
          and a.state = 'active' and a.wait_event = 'ClientRead';
        exit when not waiting and clock_timestamp() > ends_at;
        perform pg_terminate_backend(a.pid) from pg_stat_activity a
        where a.datname = current_database() and a.usename = current_user and a.application_name = 'sidecar'
          and a.state = 'active' and a.wait_event = 'ClientRead' and a.state_change < clock_timestamp() - interval '2 s';
        perform pg_cancel_backend(a.pid) from pg_stat_activity a
        where a.datname = current_database() and a.usename = current_user and a.application_name = 'sidecar'
          and a.state = 'active' and a.query like '%index concurrently%' and a.pid <> pg_backend_pid()
          and exists (select from pg_locks l where not l.granted and l.waitstart < clock_timestamp() - interval '2 s'
                      and l.pid <> a.pid and a.pid = any (pg_blocking_pids(l.pid)));
        perform pg_sleep(0.1);
        commit;
    end loop;
end $guard$
