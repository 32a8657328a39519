-- Statements of ingest/index_keeper.py.

-- name: index_state
-- The steps left for the index, and whether it is time for them: vectors exist, the first backlog is done, nothing is
-- building, and the last failure was long enough ago. Where no step is left, the table is not read: its first vector may come
-- after millions of rows without one.
select i.steps, w.created_at as wanted_since,
       pg_get_userbyid(c.relowner) as owner, pg_has_role(c.relowner, 'usage') as is_owner,
       pg_has_role(c.relowner, case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end) as may_become_owner,
       exists (select from pg_stat_progress_create_index p join sidecar_internal.tree_of(coalesce(w.companion, w.relation)) t on t.home = p.relid) as building,
       case when cardinality(i.steps) > 0 then exists (select from {vector_table} h where h.{target} is not null) else false end as has_vectors,
       exists (select from {events} e where e.backfill and e.gen > $2) as has_backlog,
       exists (select from sidecar_internal.index_failures f where f.watch_id = w.id and f.next_try_at > clock_timestamp()) as retry_pending
from sidecar_internal.watches w join pg_class c on c.oid = coalesce(w.companion, w.relation)
cross join lateral (
    select array(select s.step from sidecar_internal.index_steps(w) with ordinality s(step, number) order by s.number) as steps offset 0
) i
where w.id = $1

-- name: is_still_wanted
-- Whether the watch $1 is the one of $2: each call of sidecar.watch that changes it has a time of its own. Primary key.
select exists (select from sidecar_internal.watches w where w.id = $1 and w.created_at = $2 and w.unwatched_at is null)

-- name: try_index_lock
-- A lock of the session, so that two sidecars do not build the same index. $1 watch.
select pg_try_advisory_lock(hashtextextended('sidecar.index.' || $1::integer, 0))

-- name: set_role
-- For the rest of the session. $1 role.
select set_config('role', $1, false)

-- name: set_lock_timeout
-- For the rest of the session. $1 with its unit.
select set_config('lock_timeout', $1, false)

-- name: disable_parallel_build
-- For the rest of the session. Without parallel workers a build needs no shared memory for its graph.
select set_config('max_parallel_maintenance_workers', '0', false)

-- name: is_build_blocking
-- Whether a statement of a user waits for the backend $1, which builds an index. By pg_locks: pg_stat_activity hides the
-- waits of other roles from a role with few rights.
select exists (select from pg_locks l where not l.granted and l.pid <> $1::integer and $1::integer = any (pg_blocking_pids(l.pid)))

-- name: cancel_build
-- Cancels the statement of the backend $1.
select pg_cancel_backend($1::integer)

-- name: record_index_failure
-- $2 the message. The next attempt comes after $3 seconds, doubled with each failure up to $4, with 25 % of jitter; returns
-- in how many seconds.
insert into sidecar_internal.index_failures as f (watch_id, message, next_try_at)
select w.id, $2, clock_timestamp() + make_interval(secs => $3 * (0.75 + random() / 2)) from sidecar_internal.watches w where w.id = $1
on conflict (watch_id) do update set message = excluded.message, attempts = f.attempts + 1, failed_at = excluded.failed_at,
    next_try_at = clock_timestamp() + make_interval(secs => least($4, $3 * 2 ^ least(f.attempts, 20)) * (0.75 + random() / 2))
returning extract(epoch from next_try_at - clock_timestamp())::float8

-- name: delete_index_failure
-- Primary key.
delete from sidecar_internal.index_failures f where f.watch_id = $1
