-- Statements of session_guard.py.

-- name: prepare_guard
-- Has a guard whose sidecar is gone end within a second; where the server's system cannot tell, it ends after a minute.
do $$ begin
    perform set_config('client_connection_check_interval', '1s', false);
exception when invalid_parameter_value then
    null;
end $$

-- name: guard_sessions
-- Runs for ten seconds, or what session_guard.py puts in their place; each round is a transaction. Reads pg_stat_activity and pg_locks, takes no lock. A session of ours that has
-- waited for 2 s for the rest of a message pipeline holds what its transaction locked, and nobody else would end it. So does an
-- index build that a statement has waited for for 2 s: its own sidecar, if awake, would have cancelled it by then.
-- It ends only while nothing is in that state, however short: whoever comes next starts with a guard.
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
