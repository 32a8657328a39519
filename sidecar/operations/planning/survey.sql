-- Statements of survey.py, with the user's own rights and search_path. Their transactions are rolled back.
-- A watch is passed as JSON, with the columns of sidecar_internal.watches.

-- name: size
-- Sizes of the table and of all its partitions; the count is the planner's estimate where the table is large.
select $1::regclass::text as name, c.n as rows, c.estimated,
       (select sum(pg_relation_size(t.home))::bigint from sidecar_internal.tree_of($1::regclass) t) as heap_bytes,
       (select sum(pg_total_relation_size(t.home))::bigint from sidecar_internal.tree_of($1::regclass) t) as total_bytes
from sidecar_internal.count_rows($1::regclass, false) c

-- name: check_watch
-- The checks with which sidecar.watch begins; returns the watch with the defaults filled in.
select to_jsonb(sidecar_internal.checked_watch(jsonb_populate_record(null::sidecar_internal.watches, $1::jsonb),
                                      sidecar_internal.companion_name($2::regclass, $3::text)))

-- name: check_owner
select sidecar_internal.check_owner($1::regclass)

-- name: check_row_security
select sidecar_internal.check_row_security($1::regclass)

-- name: check_target
-- Of a watch without a companion.
select sidecar_internal.target_is_missing(w) from jsonb_populate_record(null::sidecar_internal.watches, $1::jsonb) w

-- name: warn_of_dimensions
select sidecar_internal.warn_of_dimensions(jsonb_populate_record(null::sidecar_internal.watches, $1::jsonb))

-- name: warn_of_updates
select sidecar_internal.warn_of_updates(jsonb_populate_record(null::sidecar_internal.watches, $1::jsonb))

-- name: kind
select sidecar_internal.kind_of_source($1::regclass, $2::text[], $3::text)

-- name: sample
-- $2 rows in the table, $3 rows to look at, $4 bytes wanted from the beginning of a picture's file.
select s.bytes, s.head
from sidecar_internal.sample_source(jsonb_populate_record(null::sidecar_internal.watches, $1::jsonb), $2::bigint, $3::integer, $4::integer) s

-- name: speed
-- Of all running sidecars whose model has $2 dimensions; NULL while none has measured it.
select sum(case $1::text when 'text' then s.texts_per_s else s.picture_views_per_s end)
from sidecar_internal.sidecars s
where s.seen_at > clock_timestamp() - interval '30 s' and s.dimensions = $2::integer
