-- Statements of events.py, which move an event from one state to the next. (free_leases, in liveness.sql, is one more.)

-- name: read_horizon
-- `sequence` changes when another database is restored over this one.
select h.*, 'sidecar_internal.generation'::regclass::oid::bigint as sequence from sidecar_internal.read_horizon() h

-- name: find_first_generations
-- The lowest generation above the floors $2 in each queue of the watches $1, by primary key.
select * from sidecar_internal.find_first($1, $2)

-- name: claim_live
-- Primary key of events, from the front on; row locks with SKIP LOCKED. Generations are passed as arrays, here and below,
-- instead of joins: a generic plan made while the queue was empty would read all of it, dead rows included.
-- $1 front (see Horizon), $2 rows, $3 lease in s, $4 token.
with picked as (
    select e.gen from {events} e
    where e.gen > (select sidecar_internal.horizon_floor($1)) and not e.backfill and e.attempts < 2 and (e.lease_until is null or e.lease_until < now())
    order by e.gen limit $2 for update skip locked
)
{include:lease_picked}

-- name: claim_backfill
-- Like claim_live, by the partial index events_N_backfill.
with picked as (
    select e.gen from {events} e
    where e.gen > (select sidecar_internal.horizon_floor($1)) and e.backfill and e.attempts < 2 and (e.lease_until is null or e.lease_until < now())
    order by e.gen limit $2 for update skip locked
)
{include:lease_picked}

-- name: claim_suspect
-- An event that was claimed twice or more without being completed is claimed alone: it may have crashed its sidecar. Suspects
-- are old, so they are near the front: only the first 2,000 events there are searched.
-- $5 whether the suspect may be of a backfill.
with oldest as (
    select e.gen, e.attempts from {events} e where e.gen > (select sidecar_internal.horizon_floor($1)) order by e.gen limit 2000
), picked as (
    select e.gen from {events} e
    where e.gen = any (array(select o.gen from oldest o where o.attempts >= 2))
      and e.attempts >= 2 and (e.lease_until is null or e.lease_until < now()) and (not e.backfill or $5)
    order by e.gen limit $2 for update of e skip locked
)
{include:lease_picked}

-- name: lease_picked
-- The rest of a claim: leases the events that were picked, and counts the attempt.
update {events} e set lease_until = clock_timestamp() + make_interval(secs => $3), lease_token = $4, attempts = e.attempts + 1
where e.gen = any (array(select p.gen from picked p))
returning e.gen, {text_key:e} as key, e.k1 is null as is_truncate, e.enqueued_at, e.backfill, e.force, e.attempts

-- name: renew_lease
-- Primary key. A generation that is not returned is lost: another sidecar claimed it.
update {events} e set lease_until = clock_timestamp() + make_interval(secs => $3)
where e.gen = any ($1::bigint[]) and e.lease_token = $2
returning e.gen

-- name: release
-- Primary key. Gives back the lease and the attempt.
update {events} e set lease_until = null, lease_token = null, attempts = greatest(e.attempts - 1, 0)
where e.gen = any ($1::bigint[]) and e.lease_token = $2

-- name: delay
-- Primary key. Moves events to delayed_N until run_at. $3 seconds for each event of $1, $4 attempts to give back.
with moved as (
    delete from {events} e where e.gen = any ($1::bigint[]) and e.lease_token = $2 returning e.*
)
insert into {delayed} (gen, {k}, enqueued_at, backfill, force, attempts, run_at)
select m.gen, {k}, m.enqueued_at, m.backfill, m.force, greatest(m.attempts - $4::smallint, 0), clock_timestamp() + make_interval(secs => d.delay_s)
from moved m join unnest($1::bigint[], $3::float8[]) as d(gen, delay_s) using (gen)

-- name: return_due
-- Index delayed_N_run_at; row locks with SKIP LOCKED. The events get new generations and keep their attempts.
with due as (
    delete from {delayed} d
    where d.gen in (select x.gen from {delayed} x where x.run_at <= now() order by x.run_at limit 1000 for update skip locked)
    returning d.*
)
insert into {events} ({k}, enqueued_at, backfill, force, attempts)
select {k}, d.enqueued_at, d.backfill, d.force, d.attempts from due d order by d.run_at
