-- Statements of scans.py. clearing.py locks its scan and its watch with them, too.

-- name: lock_scan
-- One sidecar at a time works on a scan; the others skip it. A backfill waits for the end of a move: it would encode what is
-- still to be moved. $3, $4 the expected names of table and companion.
select s.last_key, s.phase, s.passed_by, s.force, extract(epoch from greatest(s.next_page_at, clock_timestamp()) - clock_timestamp())::float8 as wait_s
from sidecar_internal.scans s join sidecar_internal.watches w on w.id = s.watch_id
where s.watch_id = $1 and s.purpose = $2 and s.finished_at is null
  and w.relation = to_regclass($3) and w.companion is not distinct from to_regclass($4)
  and ($2 <> 'backfill' or not exists (select from sidecar_internal.scans m where m.watch_id = $1 and m.purpose = 'move' and m.finished_at is null))
for update of s skip locked

-- name: lock_watch
-- Before all other locks, so that a transaction that changes the watch waits for this one, never the other way. No row where
-- one has it locked.
select w.id from sidecar_internal.watches w where w.id = $1 for share skip locked

-- name: limit_lock_waits
-- To half of deadlock_timeout at most: this transaction gives up before Postgres could choose a user's as the victim of a
-- deadlock.
select set_config('lock_timeout', greatest(1, least(250, extract(epoch from current_setting('deadlock_timeout')::interval) * 500))::integer::text, true)

-- name: limit_transaction_time
-- As in begin_complete, for a page that locks users' rows: one that takes longer is tried again with fewer rows.
select set_config('statement_timeout', '4s', true), case when current_setting('server_version_num')::integer >= 170000
    then set_config('transaction_timeout', '0', true) || set_config('transaction_timeout', '5s', true) end

-- name: save_scan
-- $5 the next phase, $6 rows found to differ.
update sidecar_internal.scans s set last_key = $3::text[], finished_at = case when $4 then now() end, phase = $5, found = s.found + $6
where s.watch_id = $1 and s.purpose = $2

-- name: save_move
-- Its cursor is written by move_page.
update sidecar_internal.scans s set finished_at = case when $2 then now() end where s.watch_id = $1 and s.purpose = 'move'

-- name: save_verify
-- $5 rows and $6 bytes read, $7 rows found to differ, $8 seconds until the next page, $9 the next phase.
update sidecar_internal.scans s set last_key = $3::text[], finished_at = case when $4 then now() end, rows_seen = s.rows_seen + $5,
    bytes_seen = s.bytes_seen + $6, found = s.found + $7, next_page_at = clock_timestamp() + make_interval(secs => $8), phase = $9
where s.watch_id = $1 and s.purpose = $2

-- name: move_page
-- Primary keys of both vector tables; locks the rows that it writes, and skips locked ones.
select sidecar_internal.move_page($1, $2)

-- name: skip_unmovable
-- Gives up moving the next $2 vectors of watch $1: the backfill embeds their rows, or records why it cannot.
with passed as (
    delete from sidecar_internal.former_{id} f
    where f.ctid = any (array(select x.ctid from sidecar_internal.former_{id} x
        where x.ctid > coalesce((select s.last_key[1]::tid from sidecar_internal.scans s where s.watch_id = $1 and s.purpose = 'move'), '(0,0)')
        limit $2))
    returning 1
)
select count(*) from passed

-- name: outstanding_backfill
-- The partial index events_N_backfill, above $2.
select count(*) from (select from {events} e where e.backfill and e.gen > $2 limit $1) x

-- name: backfill_page
-- Primary key of the user's table, in order. $1 rows, $2 force, $3 the last key of the previous page, unless this is the
-- first.
with page as (select {exact_key:t} from {table} t {after_row:t,3} order by {row_key:t} limit $1),
enqueued as (insert into {events} ({k}, backfill, force) select p.*, true, $2 from page p)
select {row_text_key:p} as last_key, count(*) over () as rows from page p order by {last_first:p} limit 1

-- name: sweep_page
-- Rows that were changed without an event: without a ledger entry, or whose vector is missing. Primary keys of both tables,
-- in order. $1 rows, $2 the last key of the previous page, unless this is the first.
with page as (select {exact_key:t} from {table} t {after_row:t,2} order by {row_key:t} limit $1),
enqueued as (
    insert into {events} ({k}, backfill)
    select {row_key:p}, true from page p left join {ledger} l on {is_row:p,l} left join {vector_table} h on {same_row:h,p}
    where l.k1 is null or l.content_hash is null or (l.vector_digest is not null and h.{target} is null)
    returning 1
)
select {row_text_key:p} as last_key, count(*) over () as rows, (select count(*) from enqueued) as enqueued
from page p order by {last_first:p} limit 1

-- name: verify_page
-- Enqueues rows without an event whose content, vector and ledger entry do not fit together. Failed rows are left to `retry`.
-- Primary keys of all tables. $1 rows, $2 bytes of content and vectors, which a single row may exceed, $3 the last key of the
-- previous page, unless this is the first.
-- The keys are read first: a plan that sorts would compute virtual columns of every row, and fail at one outside the page.
with keys ({k}) as materialized (
    select {exact_key:t} from {table} t {after_row:t,3} order by {row_key:t} limit $1
), page ({k}, size_bytes) as materialized (
    select {ledger_key:u}, coalesce({bytes:t}, 0) + {vector_bytes} from keys u join {table} t on {is_row:t,u}
), counted as (
    select p.*, sum(p.size_bytes) over (order by {ledger_key:p}) as total, row_number() over (order by {ledger_key:p}) as position from page p
), chosen as materialized (
    select * from counted c where c.total <= $2 or c.position = 1
), different as (
    select {ledger_key:u} from chosen u join {table} t on {is_row:t,u} {join_vector_table} left join {ledger} l on {same:l,u}
    where (case when l.content_hash = 'failed' then exists (select from sidecar_internal.failures d where d.watch_id = {id} and d.key = sidecar_internal.failure_key({key_json:u}))
                when coalesce({bytes:t}, 0) = 0 or (l.content_hash = 'empty' and {is_blank:t}) then l.content_hash = 'empty' and {stored_vector} is null
                else l.content_hash = sha256({content:t}) and l.vector_digest = sha256({vector_send}({stored_vector})) end) is not true
      and not exists (select from {events} e where {same:e,u}) and not exists (select from {delayed} e where {same:e,u})
), enqueued as (
    insert into {events} ({k}, backfill) select d.*, true from different d returning 1
)
select (select {text_key:c} from chosen c order by c.position desc limit 1) as last_key, (select count(*) from chosen) as rows,
       (select sum(c.size_bytes)::bigint from chosen c) as bytes, (select count(*) from enqueued) as enqueued,
       (select count(*) from page) < $1 and (select count(*) from chosen) = (select count(*) from page) as finished

-- name: verify_key
-- A row of which only the key can be read: enqueued, so that the worker records the reason, unless it has already. $1 the
-- previous key, unless this is the first.
with page as (select {exact_key:t} from {table} t {after_row:t,1} order by {row_key:t} limit 1),
enqueued as (
    insert into {events} ({k}, backfill)
    select {row_key:p}, true from page p
    where not exists (select from {ledger} l where {is_row:p,l} and l.content_hash = 'failed')
    returning 1
)
select {row_text_key:p} as last_key, (select count(*) from enqueued) as enqueued from page p

-- name: entries_page
-- Ledger entries without a row (deleted with the triggers off), whose events will write the tombstones. Primary keys of
-- ledger and table. By pages: one statement for all would take longer the larger the table. $1 rows, $2 the last key of the
-- previous page, unless this is the first.
with page ({k}, is_entry) as materialized (select {ledger_key:l}, l.content_hash is not null from {ledger} l {after_entry:l,2} order by {ledger_key:l} limit $1),
{include:enqueue_without_row}

-- name: vectors_page
-- Vectors of a companion without a row, whose events will delete them. Primary keys. $1 rows, $2 the last key of the previous
-- page, unless this is the first.
with page ({k}, is_entry) as materialized (select {exact_key:h}, true from {vector_table} h {after_row:h,2} order by {row_key:h} limit $1),
{include:enqueue_without_row}

-- name: enqueue_without_row
-- The rest of entries_page and vectors_page: enqueues the keys of the page that have neither a row nor an event.
enqueued as (
    insert into {events} ({k}, backfill)
    select {ledger_key:p}, true from page p where p.is_entry and not exists (select from {table} t where {is_row:t,p})
      and not exists (select from {events} e where {same:e,p}) and not exists (select from {delayed} e where {same:e,p})
    returning 1
)
select {text_key:p} as last_key, count(*) over () as rows, (select count(*) from enqueued) as enqueued
from page p order by ({ledger_key:p}) desc limit 1
