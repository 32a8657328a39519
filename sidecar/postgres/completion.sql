-- Statements of completion.py, in the order in which a completion runs them.

-- name: begin_complete
-- A script. All that follows goes by keys: planning each time would cost more than it gains.
-- However long the sidecar takes, users' rows are free again after 5 s. A statement that takes the server longer is cancelled
-- before, and its batch is written in parts. transaction_timeout exists from Postgres 17 on, and takes a smaller value only
-- where it was off; before 17 the session guard ends transactions that wait for a sidecar.
begin;
set local plan_cache_mode = force_generic_plan;
set local statement_timeout = '4s';
select set_config('transaction_timeout', '0', true), set_config('transaction_timeout', '5s', true)
where current_setting('server_version_num')::integer >= 170000

-- name: lengthen_lock_timeout
-- Before wait_for_row and wait_for_vector.
set local lock_timeout = '2s'

-- name: restore_lock_timeout
-- After them.
set local lock_timeout = '250ms'

-- name: lock_watch_nowait
-- By a transaction that holds a user's row: a user who has locked the watch may be waiting for that row. Raises 55P03.
select from sidecar_internal.watches w where w.id = $1 for share nowait

-- name: lock_watch_and_events
-- Locks the watch FOR SHARE: unwatch and reembed wait for it, other completions do not. Then the events, with SKIP LOCKED;
-- one that another sidecar claimed or completed is missing from `held`.
-- $1 events, $2 lease token. Expected names, for renames may have given them to another table or column: $3 table, $4
-- companion, $5 and $6 numbers and names of key and source columns, $7 and $8 those of the target.
with locked as materialized (
    select w.fingerprint, w.truncated_gen, w.unwatched_at is null as active,
           w.relation = to_regclass($3) and w.companion is not distinct from to_regclass($4) as same_tables,
           not exists (select from unnest($5::smallint[], $6::text[]) u(number, name)
                       left join pg_attribute a on a.attrelid = w.relation and a.attnum = u.number
                       where quote_ident(a.attname) is distinct from u.name)
           and exists (select from pg_attribute a where a.attrelid = coalesce(w.companion, w.relation) and a.attnum = $7::smallint
                       and quote_ident(a.attname) = $8::text) as same_columns
    from sidecar_internal.watches w where w.id = {id} for share of w
), held as materialized (
    select e.gen from {events} e where e.gen = any ($1::bigint[]) and e.lease_token = $2 for update skip locked
)
select l.fingerprint, l.truncated_gen, l.active, l.same_tables, l.same_columns, (select array_agg(h.gen) from held h) as held,
       -- Settings that a session behind a transaction pooler has lost. Locks are waited for half as long as Postgres waits before it
       -- looks for a deadlock, so that it never finds one that involves a user's session.
       set_config('sidecar.writer', 'on', true), set_config('row_security', 'off', true), set_config('synchronous_commit', 'off', true),
       set_config('lock_timeout', greatest(1, least(250, extract(epoch from current_setting('deadlock_timeout')::interval) * 500))::integer::text, true),
       exists (select from sidecar_internal.failures d where d.watch_id = {id}) as has_failures
from locked l

-- name: lock_rows
-- For vectors in the row itself. FOR NO KEY UPDATE does not block foreign-key checks. A row that is not returned is locked or
-- deleted.
select u.position, t.{target} is not null as has_vector
from unnest({keys:1}) with ordinality as u({k}, position)
join {table} t on {is_row:t,u}{pruned:t,1}
for no key update of t skip locked

-- name: wait_for_row
-- The same for a single row, waiting up to lock_timeout. Before all other locks: a user who holds the row may be waiting for
-- ours.
select from unnest({keys:1}) as u({k}) join {table} t on {is_row:t,u}{pruned:t,1} for no key update of t

-- name: wait_for_vector
-- The same for the row of a companion.
select from unnest({keys:1}) as u({k}) join {vector_table} h on {is_row:h,u} for update of h

-- name: lock_vectors
-- Rows of a companion, which a user may be deleting. A row that is not returned is locked or deleted.
select u.position, true as has_vector
from unnest({keys:1}) with ordinality as u({k}, position)
join {vector_table} h on {is_row:h,u}
for update of h skip locked

-- name: find_existing_vectors
-- Which of these keys have a row in the vector table. Primary key; no locks.
select u.position from unnest({keys:1}) with ordinality as u({k}, position) join {vector_table} h on {is_row:h,u}

-- name: recheck_unchanged
-- Under the row lock: which rows still have the vector that the ledger knows, made of this content. $1 content hashes.
select u.position
from unnest($1::bytea[], {keys:2}) with ordinality as u(content_hash, {k}, position)
join {ledger} l on {same:l,u} and l.content_hash = u.content_hash
join {vector_table} h on {is_row:h,u}{pruned:h,2}
where sha256({vector_send}({vector_of:h})) = l.vector_digest

-- name: finish
-- Ledger, vectors and events in one statement: three statements would spend a third of the time in round trips. Ledger keys
-- are written in key order, so that two sidecars cannot deadlock.
-- Compare-and-set: an entry is replaced only if it is the one that was read together with the content, so contents reach the
-- ledger in the order in which they were read. Generations do not show that order: events of scans, retries and delays take
-- theirs without a lock on the row, perhaps above that of an edit which commits later. A tombstone takes a new generation,
-- above every event in flight that may have read the row.
-- An entry is inserted only where none was read: if one was read and is gone (cleared after a TRUNCATE, say), so is its
-- vector. Inserted and replaced entries are told apart by their version, $11 or $11 + 1; an entry that should not be new does
-- not pass, and `complete` deletes it again (delete_new_entries). Only keys that pass get their vector, and lose their
-- events.
-- `(... in (...)) is true` is a look-up in a hash table; a join of these few rows would be a nested loop, quadratic in their
-- number: of 256 events to delete it took 15 ms of 27.
-- $1 generations, $2 content hashes, $3 vector digests, $4 truncated, $5 unreadable, $6 vectors (NULL: none to write), $7
-- versions of the ledger entries as read (NULL: none), $8 events to delete (by generation, never by key), $9 for each of them
-- the generation in $1 that has to pass (NULL: none), $10 lease token, $11 a random even number.
with wanted as materialized (
    select u.*, case when u.content_hash is null then nextval('sidecar_internal.generation') else u.event_gen end as gen
    from unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::boolean[], $5::boolean[], $7::text[], {keys:12}) with ordinality
        as u(event_gen, content_hash, vector_digest, truncated, unreadable, version, {k}, position)
), recorded as (
    insert into {ledger} as l ({k}, gen, content_hash, vector_digest, truncated, unreadable, version)
    select {k}, gen, content_hash, vector_digest, truncated, unreadable, $11 from wanted order by {k}
    on conflict ({k}) do update set gen = greatest(l.gen, excluded.gen), content_hash = excluded.content_hash,
        vector_digest = excluded.vector_digest, truncated = excluded.truncated, unreadable = excluded.unreadable,
        version = $11 + 1,
        embedded_at = case when l.vector_digest = excluded.vector_digest then l.embedded_at else excluded.embedded_at end
        where ((l.xmin || '/' || l.version, excluded.gen) in (select w.version, w.gen from wanted w)) is true
    returning {ledger_key:l}, l.version = $11 as is_new
), passed as materialized (
    select w.position, w.event_gen from wanted w
    where (({ledger_key:w}, w.version is null) in (select {ledger_key:r}, r.is_new from recorded r)) is true
), written as (
    {include:write_vectors_in_row,write_vectors_in_companion}
), deleted as (
    delete from {events} e
    where e.gen = any ($8::bigint[]) and e.lease_token = $10
      and (e.gen in (select d.gen from unnest($8, $9::bigint[]) as d(gen, needs)
                     where d.needs is null or (d.needs in (select p.event_gen from passed p)) is true)) is true
    returning e.gen, e.backfill, e.enqueued_at
), aged as (  -- read last, so that the lags end when the vectors are written
    select array_agg(date_part('epoch', clock_timestamp() - d.enqueued_at) * 1000) filter (where not d.backfill) as lags_ms,
           array_agg(date_part('epoch', clock_timestamp() - d.enqueued_at) * 1000) filter (where d.backfill) as backfill_lags_ms
    from deleted d
    where (d.gen in (select n.gen from unnest($8, $9) as n(gen, needs)
                     where (n.needs in (select w.event_gen from wanted w where w.vector_digest is not null)) is true)) is true
)
select (select array_agg(p.event_gen) from passed p) as passed, (select count(*) from recorded) as recorded,
       (select count(*) from written r where r.kept) as written,
       (select a.lags_ms from aged a), (select a.backfill_lags_ms from aged a)

-- name: write_vectors_in_row
-- A part of `finish`. lock_rows holds the rows: fewer rows are written, or others kept, where a BEFORE trigger of the user's
-- suppresses the write or replaces the vector.
update {table} t set {target} = sidecar_internal.exactly(t.{target}, v.embedding)
from unnest($6::{vector}[], {keys:12}) with ordinality as v(embedding, {k}, position)
where {is_row:t,v}{pruned:t,12} and v.embedding is not null and (v.position in (select p.position from passed p)) is true
returning {vector_of:t} {vector_equals} v.embedding as kept

-- name: write_vectors_in_companion
-- A part of `finish`. Only sidecars write to a companion, and only the one that holds a key's ledger entry writes its row;
-- lock_vectors holds rows that a user may be deleting.
insert into {vector_table} as c ({companion_key}, {target})
select {companion_values:v}, sidecar_internal.exactly((null::{vector_table}).{target}, v.embedding)
from unnest($6::{vector}[], {keys:12}) with ordinality as v(embedding, {k}, position)
where v.embedding is not null and (v.position in (select p.position from passed p)) is true
on conflict ({companion_key}) do update set {target} = excluded.{target}
returning true as kept

-- name: delete_new_entries
-- Ledger entries that this transaction should not have inserted. $1 their version.
delete from {ledger} l using unnest({keys:2}) as u({k}) where {same:l,u} and l.version = $1

-- name: clear_vectors_in_row
-- Returns a row for each vector that is NULL now: a BEFORE trigger of the user's may restore it.
with cleared as (
    update {table} t set {target} = null from unnest({keys:1}) as u({k}) where {is_row:t,u}{pruned:t,1} returning t.{target} is null as is_gone
)
select from cleared c where c.is_gone

-- name: clear_vectors_in_companion
-- Primary key.
delete from {vector_table} c using unnest({keys:1}) as u({k}) where {is_row:c,u}

-- name: delete_events
-- Primary key.
delete from {events} e where e.gen = any ($1::bigint[]) and e.lease_token = $2

-- name: delete_failures
-- Primary key.
delete from sidecar_internal.failures d using unnest({keys:1}) as u({k}) where d.watch_id = {id} and d.key = sidecar_internal.failure_key({key_json:u})

-- name: record_failures
-- $1 generations, $2 attempts, $3 reasons, $4 messages.
insert into sidecar_internal.failures (watch_id, key, wide_key, gen, attempts, reason, message)
select {id}, f.key, nullif({key_json:u}, f.key), u.gen, u.attempts, u.reason, u.message
from unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[], {keys:5}) as u(gen, attempts, reason, message, {k})
cross join lateral sidecar_internal.failure_key({key_json:u}) as f(key)
on conflict (watch_id, key) do update set gen = excluded.gen, attempts = excluded.attempts, reason = excluded.reason,
    message = excluded.message, failed_at = now(), wide_key = excluded.wide_key
