-- Statements of operations.py, run with a user's own rights and search_path. $1 is a table as the user named it, or NULL for any.
-- sidecar_internal.watches is small and read sequentially; which locks a command takes is said in sql/code, at its function.

-- name: watch
select sidecar.watch($1::regclass, $2::text[], target => $3::text, kind => $4::text, companion => $5::text, index => $6::text,
                     model => $7::text, dimensions => $8::integer, replace => $9::boolean, expose => $10::text[], storage => $11::text)

-- name: name_of_watch
select w.relation::text, w.target from sidecar_internal.get_watch($1::regclass, $2::text) w

-- name: recall
-- Reads the whole table for each query, and looks into the index. Without values, $5, with those that a running sidecar would take.
select r.ef, r.recall, r.lowest, r.queries, r.index_ms, r.exact_ms, sidecar_internal.scan_setting(w) as setting
from sidecar_internal.get_watch($1::regclass, $2::text) w
cross join lateral sidecar.recall(w.relation, w.target, k => $3::integer, sample => $4::integer,
    ef_search => coalesce($5::integer[], sidecar_internal.values_to_measure(w)), max_s => $6::float8) r

-- name: check_meant
select count(*) from sidecar_internal.watches_meant($1::regclass, $2::text)

-- name: watch_to_end
-- The whole watch as text, for `remains`: nothing else may be left of it. Relations by their OID: a name is not found any more
-- once unwatch has dropped the view or the companion.
select w.relation::text as relation, w.target,
       (to_jsonb(w) || jsonb_build_object('relation', w.relation::oid::text, 'companion', w.companion::oid::text,
                                          'companion_view', w.companion_view::oid::text, 'moved_from', w.moved_from::oid::text))::text as watch
from sidecar_internal.watch_to_end($1::regclass, $2::text, $3::boolean) w

-- name: unwatch
-- Without the notices, which say the same as `remains`.
select sidecar.unwatch($1::regclass, $2::text, $3::boolean) from set_config('client_min_messages', 'warning', true)

-- name: remains
select r.what, r.statement from sidecar_internal.remains_of(jsonb_populate_record(null::sidecar_internal.watches, $1::jsonb)) r

-- name: retry
select sidecar.retry($1::regclass, $2::text, $3::jsonb, $4::text)

-- name: set_paused
select sidecar_internal.set_paused($1::regclass, $2::text, $3::boolean)

-- name: set_rate
select sidecar.set_rate($1::regclass, $2::text, $3::float8)

-- name: reembed
select sidecar.reembed(w.relation, w.target, $3::text) from sidecar_internal.get_watch($1::regclass, $2::text) w

-- name: status
select s.relation::text, s.target, s.kind, s.source, s.companion::text, s.state, s.rows, s.embedded, s.pending, s.failed, s.empty,
       s.truncated, s.coverage::float8, extract(epoch from s.oldest_pending)::float8 as oldest_pending_s, s.lag_ms, s.index,
       s.model, s.fingerprint, s.query, s.estimated, s.watch_id, s.index_statement, s.rows_per_s, s.companion_view::text,
       s.unreadable, s.outdated, s.retrying, s.health, s.storage,
       s.recall, s.recall_k, s.recall_ef_search, s.recall_at,
       (select sidecar_internal.scan_setting(w) from sidecar_internal.watches w where w.id = s.watch_id) as recall_setting
from sidecar_internal.status_of($1::regclass, $2::boolean) s

-- name: index_builds
select b.watch_id, b.phase, b.percent::float8 as percent, b.tuples_done from sidecar.index_builds b

-- name: targets
select w.target, w.kind from sidecar_internal.watches w where w.relation::oid = $1::regclass::oid and w.unwatched_at is null order by w.id

-- name: failures
select f.relation::text, f.target, f.key::text, f.reason, f.message, f.attempts, f.at
from sidecar.failures f
where ($1::regclass is null or f.relation::oid = $1::regclass::oid) and ($2::text is null or f.target = $2::text)
order by f.at desc limit $3::bigint

-- name: failures_by_reason
select f.relation::text, f.target, f.reason, f.failures, f.oldest, f.newest, f.example_key::text, f.example_message, f.advice,
       f.rows_statement, f.retry_statement
from sidecar.failures_by_reason f
where ($1::regclass is null or f.relation::oid = $1::regclass::oid) and ($2::text is null or f.target = $2::text)
order by f.failures desc, f.relation::text, f.target, f.reason

-- name: sample_sizes
-- Bytes of the source of $2 rows of watch $1, NULL where there is nothing to embed.
select s.bytes
from sidecar_internal.watches w
cross join lateral sidecar_internal.count_rows(w.relation, false) c
cross join lateral sidecar_internal.sample_source(w, c.n, $2::integer, 0) s
where w.id = $1::integer

-- name: truncated_texts
-- The primary key of the ledger, in order.
select t.key::text, t.embedded_at from sidecar.truncated_texts($1::regclass, $2::text, $3::integer) t

-- name: unreadable_texts
select t.key::text, t.embedded_at from sidecar.unreadable_texts($1::regclass, $2::text, $3::integer) t

-- name: remains_of_all
select r.what, r.statement from sidecar_internal.remains_of_all() r

-- name: uninstall
-- Without the notices, which say the same as `remains_of_all`.
select sidecar.uninstall($1::boolean) from set_config('client_min_messages', 'warning', true)
