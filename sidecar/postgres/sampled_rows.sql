-- Statements of sampled_rows.py, for GET /map. Read-only, with a reader's locks.

-- name: sample_rows
-- $1 relation, $2 target, $3 rows, $4 filter.
select s.key::text as key, s.label, s.vector from sidecar_internal.sample_rows($1::oid::regclass, $2::text, $3::integer, $4::jsonb) s
