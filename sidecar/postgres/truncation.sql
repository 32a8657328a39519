-- Statements of ingest/batch.py that process the event of a TRUNCATE.

-- name: raise_truncated_gen
-- Primary key; locks the row of the watch. Results that were read before $2 are void from now on.
update sidecar_internal.watches w set truncated_gen = greatest(w.truncated_gen, $2) where w.id = $1

-- name: count_ledger_blocks
-- The size of the ledger in blocks, for clear_truncated_in_row and clear_truncated_in_companion.
select pg_relation_size('{ledger}'::regclass) / current_setting('block_size')::integer

-- name: clear_truncated_in_row
-- Deletes what a TRUNCATE left in some blocks of the ledger, and its failures. Each block is visited once: a scan from the
-- beginning would step over the dead rows again and again. $1 generation of the TRUNCATE, $2 the first block, $3 the one
-- after the last.
-- Returns how many entries are left because a completion has locked them: completions lock in key order, so this must not
-- wait for one entry while it holds others.
with page as materialized (
    select l.ctid as place from {ledger} l
    where l.ctid >= format('(%s,0)', $2::bigint)::tid and l.ctid < format('(%s,0)', $3::bigint)::tid and l.gen < $1
    for update skip locked
), gone as (
    delete from {ledger} l where l.ctid = any (array(select p.place from page p)) and l.gen < $1 returning {k}
), letters as (
    delete from sidecar_internal.failures d using gone u where d.watch_id = {id} and d.key = sidecar_internal.failure_key({key_json:u})
)
select count(*) - (select count(*) from gone) from {ledger} l
where l.ctid >= format('(%s,0)', $2::bigint)::tid and l.ctid < format('(%s,0)', $3::bigint)::tid and l.gen < $1

-- name: clear_truncated_in_companion
-- Like clear_truncated_in_row. A vector that a user is deleting stays for now, with its entry.
with page as materialized (
    select l.ctid as place, {ledger_key:l} from {ledger} l
    where l.ctid >= format('(%s,0)', $2::bigint)::tid and l.ctid < format('(%s,0)', $3::bigint)::tid and l.gen < $1
    for update skip locked
), vectors as materialized (
    select p.place, {ledger_key:p} from page p join {vector_table} h on {is_row:h,p} for update of h skip locked
), held as materialized (
    select p.place from page p join {vector_table} h on {is_row:h,p} except select v.place from vectors v
), gone as (
    delete from {ledger} l where l.ctid = any (array(select p.place from page p except select x.place from held x)) and l.gen < $1
    returning {k}
), letters as (
    delete from sidecar_internal.failures d using gone u where d.watch_id = {id} and d.key = sidecar_internal.failure_key({key_json:u})
), removed as (
    delete from {vector_table} c using gone u where {is_row:c,u}
)
select count(*) - (select count(*) from gone) from {ledger} l
where l.ctid >= format('(%s,0)', $2::bigint)::tid and l.ctid < format('(%s,0)', $3::bigint)::tid and l.gen < $1

-- name: restart_backfill
-- For a TRUNCATE of the companion: the vectors are gone, their rows are not. Restarts the backfill in the transaction that
-- deletes the event $1.
with ended as (
    delete from {events} e where e.gen = $1 and e.lease_token = $2 returning e.gen
)
insert into sidecar_internal.scans as s (watch_id, purpose) select {id}, 'backfill' from ended
on conflict (watch_id, purpose) do update set last_key = null, phase = 'rows', force = s.force and s.finished_at is null,
    started_at = now(), finished_at = null, rows_seen = 0, bytes_seen = 0, found = 0, next_page_at = '-infinity'
