-- Statements of pictures.py, for GET /thumbnail. Read-only, with a reader's locks.

-- name: picture_of
-- By the primary key. $1 relation, $2 target, $3 key, $4 filter, $5 whether only rows that failed count, $6 most bytes of a picture.
select p.version, p.bytes, p.picture from sidecar_internal.picture_of($1::oid::regclass, $2::text, $3::jsonb, $4::jsonb, $5::boolean, $6::bigint) p
