-- Statements of reads.py. They read no table.

-- name: wal_position
-- The database, the same on a primary and its standbys; the server, by the time of its start; whether it is a standby; its
-- position in the write-ahead log, in bytes, written or replayed; the age of the last transaction that was replayed.
select (select s.system_identifier from pg_control_system() s) || '/' || current_database() as database,
       pg_postmaster_start_time()::text as server, pg_is_in_recovery() as is_standby,
       coalesce(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end - '0/0'::pg_lsn, 0)::bigint as lsn,
       coalesce(case when pg_is_in_recovery() then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) end, 0)::double precision as age_s
