-- What ingest runs for an event of a TRUNCATE.

-- name: raise_truncated_gen
update sidecar.watches w set truncated_gen = greatest(w.truncated_gen, $2) where w.id = $1

-- name: ledger_blocks
select pg_relation_size('{ledger}'::regclass) / current_setting('block_size')::integer

-- name: clear_truncated_in_row
-- What a TRUNCATE took with it, of some blocks of the ledger: each is looked at once, or what was deleted first would be walked
-- over again and again. $1 its generation, $2 the first block, $3 the one after the last. Comes back with how many entries are
-- left, because a complete has them locked: it takes them in the order of keys, so we must not wait for one and hold others.
with page as materialized (
    select l.ctid as place from {ledger} l
    where l.ctid >= format('(%s,0)', $2::bigint)::tid and l.ctid < format('(%s,0)', $3::bigint)::tid and l.gen < $1
    for update skip locked
), gone as (
    delete from {ledger} l where l.ctid = any (array(select p.place from page p)) and l.gen < $1 returning {k}
), letters as (
    delete from sidecar.dead_letters d using gone u where d.watch_id = {id} and d.key = sidecar.failure_key({key_json:u})
)
select count(*) - (select count(*) from gone) from {ledger} l
where l.ctid >= format('(%s,0)', $2::bigint)::tid and l.ctid < format('(%s,0)', $3::bigint)::tid and l.gen < $1

-- name: clear_truncated_in_companion
-- As in the row. Vectors that a user is deleting stay for now, with their entries.
with page as materialized (
    select l.ctid as place, {ledger_key:l} from {ledger} l
    where l.ctid >= format('(%s,0)', $2::bigint)::tid and l.ctid < format('(%s,0)', $3::bigint)::tid and l.gen < $1
    for update skip locked
), vectors as materialized (
    select p.place, {ledger_key:p} from page p join {home} h on {is_row:h,p} for update of h skip locked
), held as materialized (
    select p.place from page p join {home} h on {is_row:h,p} except select v.place from vectors v
), gone as (
    delete from {ledger} l where l.ctid = any (array(select p.place from page p except select x.place from held x)) and l.gen < $1
    returning {k}
), letters as (
    delete from sidecar.dead_letters d using gone u where d.watch_id = {id} and d.key = sidecar.failure_key({key_json:u})
), removed as (
    delete from {home} c using gone u where {is_row:c,u}
)
select count(*) - (select count(*) from gone) from {ledger} l
where l.ctid >= format('(%s,0)', $2::bigint)::tid and l.ctid < format('(%s,0)', $3::bigint)::tid and l.gen < $1

-- name: begin_anew
-- Vectors are gone, but not their rows: every row is looked at again, in the transaction that ends the event $1 that told of it.
with ended as (
    delete from {events} e where e.gen = $1 and e.lease_token = $2 returning e.gen
)
insert into sidecar.scans as s (watch_id, purpose) select {id}, 'backfill' from ended
on conflict (watch_id, purpose) do update set last_key = null, phase = 'rows', force = s.force and s.finished_at is null,
    started_at = now(), finished_at = null, rows_seen = 0, bytes_seen = 0, found = 0, next_page_at = '-infinity'
