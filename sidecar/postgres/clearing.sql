-- Statements of clearing.py.

-- name: clear_keys
-- Before vectors of another space: the next keys whose old vectors go. Primary key of their home, in order. $1 rows.
-- $2 the last key of the page before, if there was one.
select {row_text_key:h} as key from {home} h {after_row:h,2} order by {row_key:h} limit $1

-- name: forget_keys
-- Ledger entries of vectors that are gone; their rows are locked by us.
delete from {ledger} l using unnest({keys:1}) as u({k}) where {same:l,u}

-- name: record_failed
-- The entry of one row that keeps the vector of another space. $1 its generation.
insert into {ledger} as l ({k}, gen, content_hash)
select {k}, $1, 'failed' from unnest({keys:2}) as u({k})
on conflict ({k}) do update set gen = excluded.gen, content_hash = excluded.content_hash, vector_digest = null, truncated = false, unreadable = false,
    version = excluded.version, embedded_at = excluded.embedded_at

-- name: next_generation
select nextval('sidecar.generation')

-- name: save_clearing
-- $3 keys whose row was locked.
update sidecar.scans s set last_key = $2::text[], passed_by = $3::text[], finished_at = case when $4 then now() end
where s.watch_id = $1 and s.purpose = 'clear'
