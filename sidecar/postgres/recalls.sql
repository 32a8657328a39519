-- Statements of ingest/recall_keeper.py.

-- name: try_recall_lock
-- A lock of the session: one sidecar of a database measures at a time.
select pg_try_advisory_lock(hashtextextended('sidecar.recall', 0))

-- name: limit_recall
-- For the rest of the session. $1 the longest time for all queries of one watch, with its unit.
select set_config('statement_timeout', $1, false), set_config('lock_timeout', '500ms', false)

-- name: find_unmeasured
-- Of the watches $1, the one whose index was measured longest ago, and not within $2 seconds. None while rows of any watch are
-- being cleared, moved, backfilled or verified.
select w.id from sidecar_internal.watches w
cross join lateral (select max(r.measured_at) as at from sidecar_internal.recalls_of(w) r) m
where w.id = any ($1::integer[]) and coalesce(m.at < clock_timestamp() - make_interval(secs => $2), true)
  and (sidecar_internal.measured_index(w)).id is not null
  and not exists (select from sidecar_internal.scans s where s.finished_at is null and s.purpose <> 'sweep')
order by m.at nulls first, w.id limit 1

-- name: has_backfill_events
-- Whether rows of a backfill wait above $1.
select exists (select from {events} e where e.backfill and e.gen > $1)

-- name: measure_recall
-- Reads the whole table for each of $2 queries, for $3 seconds at most, and keeps what it finds. $1 watch.
select r.ef, r.recall, r.queries, sidecar_internal.scan_setting(w) as setting from sidecar_internal.watches w
cross join lateral sidecar.recall(w.relation, w.target, sample => $2, max_s => $3,
    ef_search => sidecar_internal.values_to_measure(w)) r
where w.id = $1 order by r.ef
