-- Statements of clearing.py.

-- name: clear_keys
-- The next keys whose vectors of the former model are to be cleared. Primary key of the vector table, in order. $1 rows, $2
-- the last key of the previous page, unless this is the first.
select {row_text_key:h} as key from {vector_table} h {after_row:h,2} order by {row_key:h} limit $1

-- name: delete_entries
-- Ledger entries of cleared vectors, whose rows this transaction has locked.
delete from {ledger} l using unnest({keys:1}) as u({k}) where {same:l,u}

-- name: record_failed_entry
-- The ledger entry of a row that keeps a vector of the former model. $1 its generation.
insert into {ledger} as l ({k}, gen, content_hash)
select {k}, $1, 'failed' from unnest({keys:2}) as u({k})
on conflict ({k}) do update set gen = excluded.gen, content_hash = excluded.content_hash, vector_digest = null, truncated = false, unreadable = false,
    version = excluded.version, embedded_at = excluded.embedded_at

-- name: next_generation
-- For that entry.
select nextval('sidecar_internal.generation')

-- name: save_clearing
-- $2 cursor, $3 keys whose rows were locked, $4 whether it is finished.
update sidecar_internal.scans s set last_key = $2::text[], passed_by = $3::text[], finished_at = case when $4 then now() end
where s.watch_id = $1 and s.purpose = 'clear'
