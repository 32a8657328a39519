-- Statements of search.py, with the user's own rights and search_path. Read-only.

-- name: find_watch
select w.relation::text as relation, w.target, w.kind, w.dimensions, w.fingerprint, w.encoder as model, w.key_columns
from sidecar_internal.get_watch($1::regclass, $2::text) w

-- name: nearest_rows
-- The HNSW index, where there is one. A row that was deleted between the search and the look-up of its columns is left out.
select s.key, s.distance, r.row
from sidecar_internal.get_watch($1::regclass, $2::text) w
cross join sidecar.search(w.relation, $3::text, w.target, $4::integer) s
cross join lateral (select sidecar_internal.show_row(w, s.key) as row) r
where r.row is not null
order by s.distance
