-- Statements of operate.py, for POST /pause, /resume, /rate and /retry. $1 and $2 are relations and targets of watches, in parallel.

-- name: pause_watches
-- Locks the watches' rows FOR NO KEY UPDATE. $3: whether to pause them.
select coalesce(sum(sidecar_internal.set_paused(w.relation::regclass, w.target, $3::boolean)), 0)::bigint
from unnest($1::oid[], $2::text[]) w(relation, target)

-- name: set_rates
-- Locks the watches' rows FOR NO KEY UPDATE. $3: rows per second; NULL: no cap.
select coalesce(sum(sidecar.set_rate(w.relation::regclass, w.target, $3::float8)), 0)::bigint
from unnest($1::oid[], $2::text[]) w(relation, target)

-- name: retry_failures
-- Only inserts events. $3: the reason, NULL for any.
select coalesce(sum(sidecar.retry(w.relation::regclass, w.target, reason => $3::text)), 0)::bigint
from unnest($1::oid[], $2::text[]) w(relation, target)

-- name: retry_keys
-- Only inserts events. $3: the reason, NULL for any; $4: keys, objects of the key columns; 7 and "7" may be one.
select coalesce(sum(sidecar.retry(m.relation, m.target, m.key, $3::text)), 0)::bigint
from (select distinct w.relation::regclass, w.target, sidecar_internal.canonical_key(sidecar_internal.get_watch(w.relation::regclass, w.target), k.key) as key
      from unnest($1::oid[], $2::text[]) w(relation, target) cross join unnest($4::jsonb[]) k(key)) m
