-- Statements of the index keeper of ingest.

-- name: index_state
-- What is left to do for the index, and whether it is time: vectors are there, the first backlog is done, nobody builds, and
-- the last failure was long enough ago.
-- Where nothing is left, the table is not looked at: its first vector may stand behind millions of rows that have none.
select i.steps,
       pg_get_userbyid(c.relowner) as owner, pg_has_role(c.relowner, 'usage') as is_owner,
       pg_has_role(c.relowner, case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end) as may_become_owner,
       exists (select from pg_stat_progress_create_index p join sidecar.tree_of(coalesce(w.companion, w.relation)) t on t.home = p.relid) as building,
       case when cardinality(i.steps) > 0 then exists (select from {home} h where h.{target} is not null) else false end as has_vectors,
       exists (select from {events} e where e.backfill and e.gen > $2) as has_backlog,
       exists (select from sidecar.index_failures f where f.watch_id = w.id and f.next_try_at > clock_timestamp()) as rests
from sidecar.watches w join pg_class c on c.oid = coalesce(w.companion, w.relation)
cross join lateral (
    select array(select s.step from sidecar.index_steps(w) with ordinality s(step, number) order by s.number) as steps offset 0
) i
where w.id = $1

-- name: try_index_lock
-- Session-level: two sidecars must not build the same index. $1 watch.
select pg_try_advisory_lock(hashtextextended('sidecar.index.' || $1::integer, 0))

-- name: become
-- For the rest of the session. $1 a role.
select set_config('role', $1, false)

-- name: set_lock_timeout
-- $1 with its unit.
select set_config('lock_timeout', $1, false)

-- name: build_serially
-- Without parallel workers a build needs no shared memory for its graph.
select set_config('max_parallel_maintenance_workers', '0', false)

-- name: waits_for_build
-- Whether a user's statement waits for the backend $1, which builds an index. (pg_stat_activity hides the waits of others
-- from a role with few rights.)
select exists (select from pg_locks l where not l.granted and l.pid <> $1::integer and $1::integer = any (pg_blocking_pids(l.pid)))

-- name: cancel_build
select pg_cancel_backend($1::integer)

-- name: record_index_failure
-- $2 why. The next attempt: after $3 seconds, doubled with each failure up to $4, and 25 % more or less. Returns in how many seconds.
insert into sidecar.index_failures as f (watch_id, message, next_try_at)
select w.id, $2, clock_timestamp() + make_interval(secs => $3 * (0.75 + random() / 2)) from sidecar.watches w where w.id = $1
on conflict (watch_id) do update set message = excluded.message, attempts = f.attempts + 1, failed_at = excluded.failed_at,
    next_try_at = clock_timestamp() + make_interval(secs => least($4, $3 * 2 ^ least(f.attempts, 20)) * (0.75 + random() / 2))
returning extract(epoch from next_try_at - clock_timestamp())::float8

-- name: forget_index_failure
delete from sidecar.index_failures f where f.watch_id = $1
