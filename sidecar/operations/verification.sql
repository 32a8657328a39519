-- Statements of verification.py, with the user's own rights and search_path.

-- name: start
select w.id, w.relation::text, w.target
from sidecar_internal.get_watch($1::regclass, $2::text) w cross join lateral sidecar.verify(w.relation, w.target)

-- name: read
-- Primary keys of watches and scans. No row once the watch was ended.
select s.rows_seen, s.bytes_seen, s.found, s.finished_at is not null as is_finished, c.n as rows, t.state,
       exists (select from sidecar_internal.sidecars x where x.seen_at > clock_timestamp() - interval '30 s') as is_served
from sidecar_internal.watches w
join sidecar_internal.scans s on s.watch_id = w.id and s.purpose = 'verify'
cross join lateral sidecar_internal.count_rows(w.relation, false) c
cross join lateral sidecar_internal.state_of(w, 0) as t(state)
where w.id = $1 and w.unwatched_at is null
