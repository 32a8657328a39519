-- Statements of status.py.

-- name: status
-- A row for each watch; counts of large tables are the planner's.
select s.relation::text, s.target, s.kind, s.source, s.companion::text, s.state, s.rows, s.embedded, s.pending, s.failed, s.empty,
       s.truncated, s.coverage, s.oldest_pending, s.lag_ms, s.index, s.model, s.fingerprint, s.query, s.estimated, s.watch_id,
       s.index_statement, s.rows_per_s, s.companion_view::text, s.unreadable, s.outdated, s.retrying, s.health, s.storage,
       s.recall, s.recall_k, s.recall_ef_search, s.recall_at,
       (select sidecar_internal.scan_setting(w) from sidecar_internal.watches w where w.id = s.watch_id) as recall_setting
from sidecar.status s

-- name: failures
-- The newest first.
select f.relation::text, f.target, f.key::text, f.reason, f.message, f.attempts, f.at from sidecar.failures f order by f.at desc limit $1
