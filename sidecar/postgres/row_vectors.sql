-- Statements of row_vectors.py, for POST /search. Read-only, with a reader's locks.

-- name: row_vectors
-- By the primary key. $1 relation, $2 target, $3 keys, $4 filter.
select v.n, v.key::text as key, v.vector from sidecar_internal.row_vectors($1::oid::regclass, $2::text, $3::jsonb[], $4::jsonb) v
