-- Statements of liveness.py.

-- name: take_liveness_lock
-- Shows that the sidecar $1 lives for as long as the session lasts. Waits up to lock_timeout for a sidecar that is checking
-- the lock. A stopped process does not ping, and its session must not be ended for being idle.
select set_config('idle_session_timeout', '0', false), pg_advisory_lock_shared(hashtextextended('sidecar.lives.' || $1::uuid::text, 0))

-- name: other_sidecars
-- Small table. `is_unlocked`: no heartbeat for $2 seconds, and its lock is free. The lock is taken for this statement only.
select s.id, s.host, s.pid, s.seen_at,
       case when s.seen_at < clock_timestamp() - make_interval(secs => $2)
            then pg_try_advisory_xact_lock(hashtextextended('sidecar.lives.' || s.id::text, 0)) else false end as is_unlocked
from sidecar_internal.sidecars s where s.id <> $1

-- name: free_leases
-- Frees the leases of dead sidecars: their heartbeat is unchanged and their lock is free; it is taken until the end of the
-- statement. The attempt counts. A page of events by primary key; row locks with SKIP LOCKED.
-- $1 ids, $2 heartbeats, $3 and $4 their lowest and highest tokens, $5 the generation before the page, $6 its size.
with dead as materialized (
    select d.low, d.high from unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::uuid[]) as d(id, seen_at, low, high)
    join sidecar_internal.sidecars s on s.id = d.id and s.seen_at = d.seen_at
    where pg_try_advisory_xact_lock(hashtextextended('sidecar.lives.' || d.id::text, 0))
), page as materialized (
    select e.gen, e.lease_token from {events} e where e.gen > $5 and exists (select from dead) order by e.gen limit $6
), theirs as materialized (
    select e.gen from {events} e join dead d on e.lease_token between d.low and d.high
    where e.gen = any (array(select p.gen from page p)) for update of e skip locked
), freed as (
    update {events} e set lease_until = null, lease_token = null where e.gen = any (array(select t.gen from theirs t)) returning 1
)
select (select max(p.gen) from page p) as last_gen, (select count(*) from page) as looked_at, (select count(*) from freed) as freed

-- name: forget_dead
-- Primary key. $1 ids, $2 heartbeats. Rows with a heartbeat within 30 s stay: status still reports them.
delete from sidecar_internal.sidecars s using unnest($1::uuid[], $2::timestamptz[]) as d(id, seen_at)
where s.id = d.id and s.seen_at = d.seen_at and s.seen_at < clock_timestamp() - interval '30 s'
