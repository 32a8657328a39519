-- Runtime statements. A statement begins with `-- name:`; its comment says which index and locks it takes.
--
-- {braces} are filled in by queries.render, once per watch, with identifiers that Postgres quoted:
--   {events} {delayed} {ledger} {table} {home} {companion}   our and the user's tables ({home} holds the vector)
--   {target} {vector} {vector_send} {vector_bytes}  the vector column, its type, its binary output function, its size
--   {vector_equals}                           the equality operator of vectors
--   {k}                                       k1, k2
--   {keys:N}                                  $N::text[]::bigint[], ...: the key columns as parameters from $N on
--   {text_key:x}                              array[x.k1::text, x.k2::text]
--   {same:x,y}                                x.k1 = y.k1 and x.k2 = y.k2
--   {pruned:t,N}                              and t."id" = any ($N...), where t is partitioned; else nothing
--   {is_row:t,x} {same_row:x,y}               t."id" = x.k1 and ...; x."id" = y."id" and ...
--   {row_key:t} {exact_key:t} {cursor_key:t}  t."id", ... to order by; for a page, whose rows are p; to compare with {cursor:N}
--   {row_found:t} {row_text_key:t} {cursor:N} t."id" is not null; array[t."id"::text, ...]; (($N::text[])[1])::bigint, ...
--   {ledger_key:l} {companion_key} {last_first:t}  l.k1, ...; "id", ...; t."id" desc, ...
--   {companion_values:v}                      v.k1, ... to be written to the companion
--   {join_home} {home_target} {target_of:t}   brings in the table that holds the vector; the vector in it; in t
--   {key_json:x}                              jsonb_build_object('id', x.k1, ...)
--   {content:t} {bytes:t} {is_blank:t}        the source as bytea, its length before it is read, whether nothing but punctuation is in it
-- Keys travel as text, so that every type of key works alike. A statement runs with the worker's rights, and whoever owns a table
-- or a type may change its columns and give it casts at any time. So no column of a user's is used but through
-- sidecar.exactly: it must have the type that it is known to have, or the statement cannot be parsed, and no cast is looked for.
-- Types that users made become text, and text becomes theirs, by their output and input functions: see sql/code/keys.sql.

-- name: prepare_session
-- Whether the session keeps what was set as it began; a pooler's does not. What servers before 17 do not know is set here.
select current_setting('sidecar.writer', true) = 'on',
       case when current_setting('server_version_num')::integer >= 170000 then set_config('transaction_timeout', '0', false) end

-- name: load_watches
-- Small table, sequential scan, no locks. A watch whose table is gone has no relation.
select w.id, case when c.oid is not null then format('%I.%I', n.nspname, c.relname) end as relation,
       coalesce(c.relkind = 'p', false) as is_partitioned,
       (select array_agg(quote_ident(u.c) order by u.i) from unnest(w.key_columns) with ordinality u(c, i)) as key_columns,
       (select array_agg(quote_literal(u.c) order by u.i) from unnest(w.key_columns) with ordinality u(c, i)) as key_literals,
       w.key_types, keys.builtin as key_builtin, keys.domains as key_domains, keys.companion_domains as companion_key_domains,
       array(select format_type(a.atttypid, null) from unnest(w.source) with ordinality u(c, i)
             join pg_attribute a on a.attrelid = w.relation and a.attname = u.c order by u.i) as source_types,
       array(select b.type = 'bpchar'::regtype from unnest(w.source) with ordinality u(c, i)
             join pg_attribute a on a.attrelid = w.relation and a.attname = u.c
             cross join sidecar.base_type(a.atttypid, a.atttypmod) b order by u.i) as source_is_padded,
       w.kind, w.dimensions, w.index_kind, w.model, w.fingerprint, w.paused,
       -- Each of the running sidecars that may fill a watch keeps to its share of the cap. Not looked at without one: an old snapshot
       -- keeps a version for each heartbeat.
       case when w.rows_per_s is not null then
           w.rows_per_s / greatest(1, (select count(*) from sidecar.sidecars s where s.seen_at > now() - interval '30 s'
               and s.dimensions = w.dimensions and s.fingerprint = coalesce(w.fingerprint, s.fingerprint))) end as rows_per_s,
       (select array_agg(quote_ident(u.c) order by u.i) from unnest(w.source) with ordinality u(c, i)) as source,
       quote_ident(w.target) as target, w.target as target_name,
       array(select a.attnum from unnest(w.key_columns || w.source) with ordinality u(c, i)
             join pg_attribute a on a.attrelid = w.relation and a.attname = u.c order by u.i) as column_numbers,
       (select a.attnum from pg_attribute a where a.attrelid = coalesce(w.companion, w.relation) and a.attname = w.target) as target_number,
       case when cc.oid is not null then format('%I.%I', cn.nspname, cc.relname) end as companion,
       w.companion is not null as has_companion,
       coalesce(w.broken, (select string_agg(b.code || ': ' || b.message, '; ') from sidecar.breakages b where b.watch_id = w.id),
                sidecar.structure_fault(w), sidecar.denial_of(w, current_user)) as broken,
       quote_ident(sidecar.vector_schema()) as vector_schema,
       coalesce((select array_agg(s.purpose) from sidecar.scans s where s.watch_id = w.id and s.finished_at is null), '{}') as scans
from sidecar.watches w
left join pg_class c on c.oid = w.relation
left join pg_namespace n on n.oid = c.relnamespace
left join pg_class cc on cc.oid = w.companion
left join pg_namespace cn on cn.oid = cc.relnamespace
cross join lateral (
    -- The cast from text to regclass does not read all that its output function writes, such as the number of a dropped table.
    select array_agg(coalesce(k.atttypid < 16384 and k.atttypid <> 'regclass'::regtype, false) order by u.i) as builtin,
           array_agg(case when t.typtype = 'd' then format_type(t.oid, null) end order by u.i) as domains,
           array_agg(case when ct.typtype = 'd' then format_type(ct.oid, null) end order by u.i) as companion_domains
    from unnest(w.key_columns) with ordinality u(c, i)
    left join pg_attribute k on k.attrelid = to_regclass(format('sidecar.events_%s', w.id)) and k.attname = format('k%s', u.i)
    left join pg_attribute a on a.attrelid = w.relation and a.attname = u.c left join pg_type t on t.oid = a.atttypid
    left join pg_attribute ca on ca.attrelid = w.companion and ca.attname = u.c left join pg_type ct on ct.oid = ca.atttypid
) keys
where w.unwatched_at is null
order by w.id

-- name: follow_changes
-- Takes up renamed columns, forgets watches whose table was dropped; what is locked is left for the next time.
select * from sidecar.follow_changes()

-- name: pin_fingerprint
-- The first vector decides the space of a watch: compare-and-set. Waits for completes in hand. Not while old vectors are cleared.
update sidecar.watches w set fingerprint = $2, encoder = $3
where w.id = $1 and w.fingerprint is null and (w.model is null or w.model in ($2, $3))
  and not exists (select from sidecar.scans s where s.watch_id = w.id and s.purpose = 'clear' and s.finished_at is null)
returning w.id

-- name: read_pin
select w.fingerprint from sidecar.watches w where w.id = $1 and w.unwatched_at is null

-- name: find_work
-- Which watches have something to claim: one transaction, however many there are. Looks at the front of each queue; takes no
-- locks but ACCESS SHARE, and waits 10 ms for that. $1 watches, $2 their floors, $3 late transactions (see Horizon).
select * from sidecar.find_work($1, $2, $3)

-- name: look_at_horizon
-- `sequence` is another one when the database was restored over.
select h.*, 'sidecar.generation'::regclass::oid::bigint as sequence from sidecar.look_at_horizon() h

-- name: find_first
-- Primary keys of events above the floors $2 of the watches $1: the first entries.
select * from sidecar.find_first($1, $2)

-- name: claim_live
-- Primary key of events from the front on; row locks with SKIP LOCKED. Arrays of generations, here and below, not joins:
-- a plan that is kept from when the queue was empty would go through all of it, dead rows too.
-- $1 front (see Horizon), $2 rows, $3 lease in s, $4 token.
with picked as (
    select e.gen from {events} e
    where e.gen > (select sidecar.front($1)) and not e.backfill and e.attempts < 2 and (e.lease_until is null or e.lease_until < now())
    order by e.gen limit $2 for update skip locked
)
update {events} e set lease_until = clock_timestamp() + make_interval(secs => $3), lease_token = $4, attempts = e.attempts + 1
where e.gen = any (array(select p.gen from picked p))
returning e.gen, {text_key:e} as key, e.k1 is null as is_truncate, e.enqueued_at, e.backfill, e.force, e.attempts

-- name: claim_backfill
-- The partial index events_N_backfill.
with picked as (
    select e.gen from {events} e
    where e.gen > (select sidecar.front($1)) and e.backfill and e.attempts < 2 and (e.lease_until is null or e.lease_until < now())
    order by e.gen limit $2 for update skip locked
)
update {events} e set lease_until = clock_timestamp() + make_interval(secs => $3), lease_token = $4, attempts = e.attempts + 1
where e.gen = any (array(select p.gen from picked p))
returning e.gen, {text_key:e} as key, e.k1 is null as is_truncate, e.enqueued_at, e.backfill, e.force, e.attempts

-- name: claim_suspect
-- An event that was claimed twice or more and never finished comes alone. Suspects are old, so they stand near the front.
-- $5 whether it may be one of a backfill.
with front as (
    select e.gen, e.attempts from {events} e where e.gen > (select sidecar.front($1)) order by e.gen limit 2000
), picked as (
    select e.gen from {events} e
    where e.gen = any (array(select f.gen from front f where f.attempts >= 2))
      and e.attempts >= 2 and (e.lease_until is null or e.lease_until < now()) and (not e.backfill or $5)
    order by e.gen limit $2 for update of e skip locked
)
update {events} e set lease_until = clock_timestamp() + make_interval(secs => $3), lease_token = $4, attempts = e.attempts + 1
where e.gen = any (array(select p.gen from picked p))
returning e.gen, {text_key:e} as key, e.k1 is null as is_truncate, e.enqueued_at, e.backfill, e.force, e.attempts

-- name: renew_lease
-- A generation that does not come back is lost: somebody else claimed it.
update {events} e set lease_until = clock_timestamp() + make_interval(secs => $3)
where e.gen = any ($1::bigint[]) and e.lease_token = $2
returning e.gen

-- name: release
-- Lease and attempt are given back.
update {events} e set lease_until = null, lease_token = null, attempts = greatest(e.attempts - 1, 0)
where e.gen = any ($1::bigint[]) and e.lease_token = $2

-- name: free_leases
-- Those of sidecars that are dead: their heartbeat still is the one that was seen long ago, and nobody has their lock, which is
-- taken here until the end of the statement. The attempt counts. Primary key of events, a page at a time; row locks that
-- nobody waits for. $1 ids, $2 heartbeats, $3 and $4 their lowest and highest tokens, $5 where the page begins, $6 its size.
with dead as materialized (
    select d.low, d.high from unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::uuid[]) as d(id, seen_at, low, high)
    join sidecar.sidecars s on s.id = d.id and s.seen_at = d.seen_at
    where pg_try_advisory_xact_lock(hashtextextended('sidecar.lives.' || d.id::text, 0))
), page as materialized (
    select e.gen, e.lease_token from {events} e where e.gen > $5 and exists (select from dead) order by e.gen limit $6
), theirs as materialized (
    select e.gen from {events} e join dead d on e.lease_token between d.low and d.high
    where e.gen = any (array(select p.gen from page p)) for update of e skip locked
), freed as (
    update {events} e set lease_until = null, lease_token = null where e.gen = any (array(select t.gen from theirs t)) returning 1
)
select (select max(p.gen) from page p) as last_gen, (select count(*) from page) as looked_at, (select count(*) from freed) as freed

-- name: delay
-- Out of the way of claims until run_at. $3 seconds per event, in the order of $1; $4 attempts to give back.
with moved as (
    delete from {events} e where e.gen = any ($1::bigint[]) and e.lease_token = $2 returning e.*
)
insert into {delayed} (gen, {k}, enqueued_at, backfill, force, attempts, run_at)
select m.gen, {k}, m.enqueued_at, m.backfill, m.force, greatest(m.attempts - $4::smallint, 0), clock_timestamp() + make_interval(secs => d.delay_s)
from moved m join unnest($1::bigint[], $3::float8[]) as d(gen, delay_s) using (gen)

-- name: return_due
-- Index delayed_N_run_at. They come back with a new generation and their attempts.
with due as (
    delete from {delayed} d
    where d.gen in (select x.gen from {delayed} x where x.run_at <= now() order by x.run_at limit 1000 for update skip locked)
    returning d.*
)
insert into {events} ({k}, enqueued_at, backfill, force, attempts)
select {k}, d.enqueued_at, d.backfill, d.force, d.attempts from due d order by d.run_at

-- name: read_rows
-- Primary keys of the user's table, the ledger and the companion; no locks. A second statement after the claim, so that it
-- sees every content that is as old as the claimed generation, or newer. $1 bytes that are looked at for the whole answer, $2 bytes
-- of one row: a longer one comes without content. A row beyond $1 comes without content and is asked for again; the first one always
-- comes. Of a content longer than $5 bytes only the first $6 come, and `whole_hash`, the hash of all of it. `version` names the
-- ledger entry in the snapshot that the content is read in: complete replaces this very entry, or none. The transaction alone would
-- not do: after a crash of the server the id of one that was not flushed is given again. The number alone would not either: a
-- sidecar of schema 0016 leaves it as it is. $3 whether to look at contents, $4 at vectors: of a row where this fails the rest
-- is read without. Contents are taken from their place where they are wanted, once (`offset 0`); up to there they are
-- pointers, and their lengths stand beside these. A WHERE would be heeded too late: behind `offset 0` its rows are made first.
select s.position, s.found, s.bytes as size_bytes, s.has_vector, s.version, s.content_hash, s.vector_digest, s.truncated, s.unreadable,
       s.digest_matches, c.content, c.whole_hash
from (
    select r.*, sum(least(r.bytes, $2::bigint)) over (order by r.position) as total
    from (
        select u.position, {row_found:t} as found, case when $3 then {bytes:t}::bigint end as bytes, {contents:t},
               {home_target} is not null as has_vector, l.xmin || '/' || l.version as version, l.content_hash, l.vector_digest,
               coalesce(l.truncated, false) as truncated, coalesce(l.unreadable, false) as unreadable,
               case when $4 and l.vector_digest is not null and {home_target} is not null
                    then sha256({vector_send}({home_target})) = l.vector_digest end as digest_matches
        from unnest({keys:7}) with ordinality as u({k}, position)
        left join {table} t on {is_row:t,u}{pruned:t,7}
        {join_home}
        left join {ledger} l on {same:l,u}
        offset 0
    ) r
) s cross join lateral (
    select case when s.bytes > $5::bigint then substring(w.content from 1 for $6::integer) else w.content end as content,
           case when s.bytes > $5::bigint then sha256(w.content) end as whole_hash
    from (select case when s.bytes <= $2::bigint and (s.total <= $1::bigint or s.position = 1) then {taken_content:s} end as content
          offset 0) w
) c
order by s.position

-- name: plan_with_values
-- For statements on a partitioned table: planned with the values, they lock the partitions that hold the rows; a plan for all
-- values locks the whole tree, and with some thousand partitions fills the server's lock table.
set local plan_cache_mode = force_custom_plan

-- name: begin_complete
-- All that follows goes by keys: planning it anew each time would cost more than it gains.
-- However long our side takes, the user's rows are free again after 5 s. A statement that the server itself takes longer for is
-- ended first: its batch is written in parts. transaction_timeout is there from Postgres 17 on, and heeds a smaller value only
-- where it was off; before 17 the guard of sessions ends those that wait for us.
begin;
set local plan_cache_mode = force_generic_plan;
set local statement_timeout = '4s';
select set_config('transaction_timeout', '0', true), set_config('transaction_timeout', '5s', true)
where current_setting('server_version_num')::integer >= 170000

-- name: bound_transaction
-- The same bounds for a page that locks users' rows: what takes longer is tried again with a smaller one.
select set_config('statement_timeout', '4s', true), case when current_setting('server_version_num')::integer >= 170000
    then set_config('transaction_timeout', '0', true) || set_config('transaction_timeout', '5s', true) end

-- name: wait_longer
set local lock_timeout = '2s'

-- name: wait_no_longer
set local lock_timeout = '250ms'

-- name: lock_watch_at_once
-- By whoever holds a user's row already: a user who has locked the watch may be waiting for that row. Raises 55P03.
select from sidecar.watches w where w.id = $1 for share nowait

-- name: lock_watch_and_events
-- The watch row FOR SHARE: unwatch and reembed wait for us, other completes do not. An event that another claimer holds,
-- or finished, does not come back; a row without one always does, to tell of the watch. $3, $4 what we take for table and
-- companion: after a rename another table may bear the name. Nor may another column: $5, $6 are numbers and names of key and
-- source, $7, $8 those of the target.
with locked as materialized (
    select w.fingerprint, w.truncated_gen, w.unwatched_at is null as active,
           w.relation = to_regclass($3) and w.companion is not distinct from to_regclass($4) as same_tables,
           not exists (select from unnest($5::smallint[], $6::text[]) u(number, name)
                       left join pg_attribute a on a.attrelid = w.relation and a.attnum = u.number
                       where quote_ident(a.attname) is distinct from u.name)
           and exists (select from pg_attribute a where a.attrelid = coalesce(w.companion, w.relation) and a.attnum = $7::smallint
                       and quote_ident(a.attname) = $8::text) as same_columns
    from sidecar.watches w where w.id = {id} for share of w
), held as materialized (
    select e.gen from {events} e where e.gen = any ($1::bigint[]) and e.lease_token = $2 for update skip locked
)
select l.fingerprint, l.truncated_gen, l.active, l.same_tables, l.same_columns, (select array_agg(h.gen) from held h) as held,
       -- The session's own settings, unless it is behind a transaction pooler, which loses them. We wait for half as long as
       -- Postgres waits before it looks for a deadlock, so that it never finds one with a user's session in it.
       set_config('sidecar.writer', 'on', true), set_config('row_security', 'off', true), set_config('synchronous_commit', 'off', true),
       set_config('lock_timeout', greatest(1, least(250, extract(epoch from current_setting('deadlock_timeout')::interval) * 500))::integer::text, true),
       exists (select from sidecar.dead_letters d where d.watch_id = {id}) as has_failures
from locked l

-- name: lock_rows
-- In-row targets only. FOR NO KEY UPDATE: foreign-key checks go on. A row that does not come back is locked or gone.
select u.position, t.{target} is not null as has_vector
from unnest({keys:1}) with ordinality as u({k}, position)
join {table} t on {is_row:t,u}{pruned:t,1}
for no key update of t skip locked

-- name: wait_for_row
-- The same for one row, up to lock_timeout. It comes before all other locks: a user who holds the row may be waiting for ours.
select from unnest({keys:1}) as u({k}) join {table} t on {is_row:t,u}{pruned:t,1} for no key update of t

-- name: wait_for_vector
select from unnest({keys:1}) as u({k}) join {home} h on {is_row:h,u} for update of h

-- name: recheck_unchanged
-- Under the row lock: the vector still is the one that the ledger knows, and was made of this content. $1 content hashes.
select u.position
from unnest($1::bytea[], {keys:2}) with ordinality as u(content_hash, {k}, position)
join {ledger} l on {same:l,u} and l.content_hash = u.content_hash
join {home} h on {is_row:h,u}{pruned:h,2}
where sha256({vector_send}({target_of:h})) = l.vector_digest

-- name: finish_in_row
-- Ledger, vectors and events in one statement: three would cost a third of the whole in round trips. Ledger keys are
-- written in key order, so that two sidecars cannot deadlock. Compare-and-set: an entry is replaced only if it is the one
-- that was read together with the content, so contents reach the ledger in the order in which they were read. Generations
-- do not tell that order: events of scans, retries and delays take theirs without the row's lock, perhaps above that of an
-- edit which commits later. A tombstone takes a new generation, above every event in hand that may have read the row.
-- An entry is made only where none was read: one that was read and is gone by now (cleared after a TRUNCATE, say) took the
-- vector along. So what was inserted is told from what was replaced by its version, $11 or $11 + 1, and an entry that ought
-- not to be new does not pass; `complete` takes it away again (forget_entries).
-- Only keys that passed get their vector, and lose their events. Rows are locked by lock_rows: fewer are written
-- if a BEFORE trigger of the user's suppresses one, or puts another vector in its place.
-- `(... in (...)) is true` is looked up in a hash table; a join of these few rows would be a nested loop, in the square of them.
-- $1 generations, $2 content hashes, $3 vector digests, $4 truncated, $5 unreadable, $6 vectors (NULL: none to write), $7 versions of the
-- ledger entries as read (NULL: there was none), $8 events to delete (by generation, never by key), $9 for each of them the
-- generation in $1 that has to pass (NULL: none), $10 lease token, $11 a random even number.
with wanted as materialized (
    select u.*, case when u.content_hash is null then nextval('sidecar.generation') else u.event_gen end as gen
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
    update {table} t set {target} = sidecar.exactly(t.{target}, v.embedding)
    from unnest($6::{vector}[], {keys:12}) with ordinality as v(embedding, {k}, position)
    where {is_row:t,v}{pruned:t,12} and v.embedding is not null and (v.position in (select p.position from passed p)) is true
    returning {target_of:t} {vector_equals} v.embedding as kept
), deleted as (
    delete from {events} e using unnest($8::bigint[], $9::bigint[]) as d(gen, needs)
    where e.gen = d.gen and e.gen = any ($8) and e.lease_token = $10 and (d.needs is null or d.needs in (select p.event_gen from passed p))
    returning e.backfill, e.enqueued_at, d.needs
), aged as (  -- read last, so that the lags end when the vectors are written
    select array_agg(extract(epoch from clock_timestamp() - d.enqueued_at)::float8 * 1000) filter (where not d.backfill) as lags_ms,
           array_agg(extract(epoch from clock_timestamp() - d.enqueued_at)::float8 * 1000) filter (where d.backfill) as backfill_lags_ms
    from deleted d where (d.needs in (select w.event_gen from wanted w where w.vector_digest is not null)) is true
)
select (select array_agg(p.event_gen) from passed p) as passed, (select count(*) from recorded) as recorded,
       (select count(*) from written r where r.kept) as written,
       (select a.lags_ms from aged a), (select a.backfill_lags_ms from aged a)

-- name: finish_in_companion
-- Ledger, vectors and events in one statement: three would cost a third of the whole in round trips. Ledger keys are
-- written in key order, so that two sidecars cannot deadlock. Compare-and-set: an entry is replaced only if it is the one
-- that was read together with the content, so contents reach the ledger in the order in which they were read. Generations
-- do not tell that order: events of scans, retries and delays take theirs without the row's lock, perhaps above that of an
-- edit which commits later. A tombstone takes a new generation, above every event in hand that may have read the row.
-- An entry is made only where none was read: one that was read and is gone by now (cleared after a TRUNCATE, say) took the
-- vector along. So what was inserted is told from what was replaced by its version, $11 or $11 + 1, and an entry that ought
-- not to be new does not pass; `complete` takes it away again (forget_entries).
-- Only keys that passed get their vector, and lose their events. Only sidecars write the companion table, and only
-- whoever holds the ledger entry of a key writes its row; rows that a user may be deleting are locked by lock_vectors.
-- `(... in (...)) is true` is looked up in a hash table; a join of these few rows would be a nested loop, in the square of them.
-- $1 generations, $2 content hashes, $3 vector digests, $4 truncated, $5 unreadable, $6 vectors (NULL: none to write), $7 versions of the
-- ledger entries as read (NULL: there was none), $8 events to delete (by generation, never by key), $9 for each of them the
-- generation in $1 that has to pass (NULL: none), $10 lease token, $11 a random even number.
with wanted as materialized (
    select u.*, case when u.content_hash is null then nextval('sidecar.generation') else u.event_gen end as gen
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
    insert into {home} as c ({companion_key}, {target})
    select {companion_values:v}, sidecar.exactly((null::{home}).{target}, v.embedding) from unnest($6::{vector}[], {keys:12}) with ordinality as v(embedding, {k}, position) where v.embedding is not null and (v.position in (select p.position from passed p)) is true
    on conflict ({companion_key}) do update set {target} = excluded.{target}
    returning 1
), deleted as (
    delete from {events} e using unnest($8::bigint[], $9::bigint[]) as d(gen, needs)
    where e.gen = d.gen and e.gen = any ($8) and e.lease_token = $10 and (d.needs is null or d.needs in (select p.event_gen from passed p))
    returning e.backfill, e.enqueued_at, d.needs
), aged as (  -- read last, so that the lags end when the vectors are written
    select array_agg(extract(epoch from clock_timestamp() - d.enqueued_at)::float8 * 1000) filter (where not d.backfill) as lags_ms,
           array_agg(extract(epoch from clock_timestamp() - d.enqueued_at)::float8 * 1000) filter (where d.backfill) as backfill_lags_ms
    from deleted d where (d.needs in (select w.event_gen from wanted w where w.vector_digest is not null)) is true
)
select (select array_agg(p.event_gen) from passed p) as passed, (select count(*) from recorded) as recorded,
       (select count(*) from written) as written,
       (select a.lags_ms from aged a), (select a.backfill_lags_ms from aged a)

-- name: forget_entries
-- Entries that this transaction has just made and that ought not to be there. $1 the version that they bear.
delete from {ledger} l using unnest({keys:2}) as u({k}) where {same:l,u} and l.version = $1

-- name: clear_vectors_in_row
-- Returns a row for each that has no vector now: a BEFORE trigger of the user's may put it back.
with cleared as (
    update {table} t set {target} = null from unnest({keys:1}) as u({k}) where {is_row:t,u}{pruned:t,1} returning t.{target} is null as is_gone
)
select from cleared c where c.is_gone

-- name: clear_vectors_in_companion
delete from {home} c using unnest({keys:1}) as u({k}) where {is_row:c,u}

-- name: delete_events
delete from {events} e where e.gen = any ($1::bigint[]) and e.lease_token = $2

-- name: delete_failures
delete from sidecar.dead_letters d using unnest({keys:1}) as u({k}) where d.watch_id = {id} and d.key = sidecar.failure_key({key_json:u})

-- name: record_failures
-- $1 generations, $2 attempts, $3 reasons, $4 messages
insert into sidecar.dead_letters (watch_id, key, wide_key, gen, attempts, reason, message)
select {id}, f.key, nullif({key_json:u}, f.key), u.gen, u.attempts, u.reason, u.message
from unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[], {keys:5}) as u(gen, attempts, reason, message, {k})
cross join lateral sidecar.failure_key({key_json:u}) as f(key)
on conflict (watch_id, key) do update set gen = excluded.gen, attempts = excluded.attempts, reason = excluded.reason,
    message = excluded.message, failed_at = now(), wide_key = excluded.wide_key

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

-- name: delete_tombstones
-- Of all watches in one transaction: index ledger_N_tombstones; passes by what is locked. $1 watches.
select * from sidecar.delete_tombstones($1, $2)

-- name: lock_scan
-- One sidecar at a time works on a scan; the others pass by. A backfill waits for a move: it would encode what has still to
-- come. $3, $4 what we take for table and companion.
select s.last_key, s.phase, s.passed_by, s.force, extract(epoch from greatest(s.next_page_at, clock_timestamp()) - clock_timestamp())::float8 as wait_s
from sidecar.scans s join sidecar.watches w on w.id = s.watch_id
where s.watch_id = $1 and s.purpose = $2 and s.finished_at is null
  and w.relation = to_regclass($3) and w.companion is not distinct from to_regclass($4)
  and ($2 <> 'backfill' or not exists (select from sidecar.scans m where m.watch_id = $1 and m.purpose = 'move' and m.finished_at is null))
for update of s skip locked

-- name: save_scan
-- $5 the phase that follows, $6 rows found that differ.
update sidecar.scans s set last_key = $3::text[], finished_at = case when $4 then now() end, phase = $5, found = s.found + $6
where s.watch_id = $1 and s.purpose = $2

-- name: save_move
-- Its cursor is written by move_page.
update sidecar.scans s set finished_at = case when $2 then now() end where s.watch_id = $1 and s.purpose = 'move'

-- name: save_verify
-- $5 rows and $6 bytes looked at, $7 rows found that differ, $8 seconds until the next page, $9 the phase that follows.
update sidecar.scans s set last_key = $3::text[], finished_at = case when $4 then now() end, rows_seen = s.rows_seen + $5,
    bytes_seen = s.bytes_seen + $6, found = s.found + $7, next_page_at = clock_timestamp() + make_interval(secs => $8), phase = $9
where s.watch_id = $1 and s.purpose = $2

-- name: move_page
-- Primary keys of both homes; locks the rows that it writes, and passes by those that somebody else has locked.
select sidecar.move_page($1, $2)

-- name: pass_unmovable
-- The next $2 entries of watch $1 do not move: the backfill embeds their rows, or says why it cannot.
with passed as (
    delete from sidecar.former_{id} f
    where f.ctid = any (array(select x.ctid from sidecar.former_{id} x
        where x.ctid > coalesce((select s.last_key[1]::tid from sidecar.scans s where s.watch_id = $1 and s.purpose = 'move'), '(0,0)')
        limit $2))
    returning 1
)
select count(*) from passed

-- name: denial
-- What this role lacks to work on a watch, or NULL.
select sidecar.denial_of(w, current_user) from sidecar.watches w where w.id = $1

-- name: start_sweeps
-- Starts the hourly sweeps where the last one is over for long enough; locks nothing where none is. $1 watches, $2 seconds.
select sidecar.start_sweeps($1, $2)

-- name: outstanding_backfill
-- The partial index events_N_backfill, above $2.
select count(*) from (select from {events} e where e.backfill and e.gen > $2 limit $1) x

-- name: backfill_first_page
-- Primary key of the user's table, in order. $1 rows, $2 force.
with page as (select {exact_key:t} from {table} t order by {row_key:t} limit $1),
enqueued as (insert into {events} ({k}, backfill, force) select p.*, true, $2 from page p)
select {row_text_key:p} as last_key, count(*) over () as rows from page p order by {last_first:p} limit 1

-- name: backfill_next_page
-- $3 the last key of the page before.
with page as (select {exact_key:t} from {table} t where ({cursor_key:t}) > ({cursor:3}) order by {row_key:t} limit $1),
enqueued as (insert into {events} ({k}, backfill, force) select p.*, true, $2 from page p)
select {row_text_key:p} as last_key, count(*) over () as rows from page p order by {last_first:p} limit 1

-- name: sweep_first_page
-- Rows that no event told of: without a ledger entry, or whose vector went missing. Primary keys of both tables, in order.
with page as (select {exact_key:t} from {table} t order by {row_key:t} limit $1),
enqueued as (
    insert into {events} ({k}, backfill)
    select {row_key:p}, true from page p left join {ledger} l on {is_row:p,l} left join {home} h on {same_row:h,p}
    where l.k1 is null or l.content_hash is null or (l.vector_digest is not null and h.{target} is null)
    returning 1
)
select {row_text_key:p} as last_key, count(*) over () as rows, (select count(*) from enqueued) as enqueued
from page p order by {last_first:p} limit 1

-- name: sweep_next_page
with page as (select {exact_key:t} from {table} t where ({cursor_key:t}) > ({cursor:2}) order by {row_key:t} limit $1),
enqueued as (
    insert into {events} ({k}, backfill)
    select {row_key:p}, true from page p left join {ledger} l on {is_row:p,l} left join {home} h on {same_row:h,p}
    where l.k1 is null or l.content_hash is null or (l.vector_digest is not null and h.{target} is null)
    returning 1
)
select {row_text_key:p} as last_key, count(*) over () as rows, (select count(*) from enqueued) as enqueued
from page p order by {last_first:p} limit 1

-- name: verify_first_page
-- Rows whose content, vector or ledger entry differs from what the others say, and that no event waits for. $1 rows; $2 bytes
-- of content and vectors, of which one row may have more. Primary keys of all tables. A failed row is `retry`'s to try.
-- The keys come first: a plan that sorts would compute a virtual column of every row, and fail at one that is not of the page.
with keys ({k}) as materialized (
    select {exact_key:t} from {table} t order by {row_key:t} limit $1
), page ({k}, size_bytes) as materialized (
    select {ledger_key:u}, coalesce({bytes:t}, 0) + {vector_bytes} from keys u join {table} t on {is_row:t,u}
), counted as (
    select p.*, sum(p.size_bytes) over (order by {ledger_key:p}) as total, row_number() over (order by {ledger_key:p}) as position from page p
), chosen as materialized (
    select * from counted c where c.total <= $2 or c.position = 1
), different as (
    select {ledger_key:u} from chosen u join {table} t on {is_row:t,u} {join_home} left join {ledger} l on {same:l,u}
    where (case when l.content_hash = 'failed' then exists (select from sidecar.dead_letters d where d.watch_id = {id} and d.key = sidecar.failure_key({key_json:u}))
                when coalesce({bytes:t}, 0) = 0 or (l.content_hash = 'empty' and {is_blank:t}) then l.content_hash = 'empty' and {home_target} is null
                else l.content_hash = sha256({content:t}) and l.vector_digest = sha256({vector_send}({home_target})) end) is not true
      and not exists (select from {events} e where {same:e,u}) and not exists (select from {delayed} e where {same:e,u})
), enqueued as (
    insert into {events} ({k}, backfill) select d.*, true from different d returning 1
)
select (select {text_key:c} from chosen c order by c.position desc limit 1) as last_key, (select count(*) from chosen) as rows,
       (select sum(c.size_bytes)::bigint from chosen c) as bytes, (select count(*) from enqueued) as enqueued,
       (select count(*) from page) < $1 and (select count(*) from chosen) = (select count(*) from page) as finished

-- name: verify_next_page
-- $3 the last key of the page before.
with keys ({k}) as materialized (
    select {exact_key:t} from {table} t where ({cursor_key:t}) > ({cursor:3}) order by {row_key:t} limit $1
), page ({k}, size_bytes) as materialized (
    select {ledger_key:u}, coalesce({bytes:t}, 0) + {vector_bytes} from keys u join {table} t on {is_row:t,u}
), counted as (
    select p.*, sum(p.size_bytes) over (order by {ledger_key:p}) as total, row_number() over (order by {ledger_key:p}) as position from page p
), chosen as materialized (
    select * from counted c where c.total <= $2 or c.position = 1
), different as (
    select {ledger_key:u} from chosen u join {table} t on {is_row:t,u} {join_home} left join {ledger} l on {same:l,u}
    where (case when l.content_hash = 'failed' then exists (select from sidecar.dead_letters d where d.watch_id = {id} and d.key = sidecar.failure_key({key_json:u}))
                when coalesce({bytes:t}, 0) = 0 or (l.content_hash = 'empty' and {is_blank:t}) then l.content_hash = 'empty' and {home_target} is null
                else l.content_hash = sha256({content:t}) and l.vector_digest = sha256({vector_send}({home_target})) end) is not true
      and not exists (select from {events} e where {same:e,u}) and not exists (select from {delayed} e where {same:e,u})
), enqueued as (
    insert into {events} ({k}, backfill) select d.*, true from different d returning 1
)
select (select {text_key:c} from chosen c order by c.position desc limit 1) as last_key, (select count(*) from chosen) as rows,
       (select sum(c.size_bytes)::bigint from chosen c) as bytes, (select count(*) from enqueued) as enqueued,
       (select count(*) from page) < $1 and (select count(*) from chosen) = (select count(*) from page) as finished

-- name: verify_first_key
-- One row of which nothing but the key can be read: it is enqueued, so that the worker says why, unless it has.
with page as (select {exact_key:t} from {table} t order by {row_key:t} limit 1),
enqueued as (
    insert into {events} ({k}, backfill)
    select {row_key:p}, true from page p
    where not exists (select from {ledger} l where {is_row:p,l} and l.content_hash = 'failed')
    returning 1
)
select {row_text_key:p} as last_key, (select count(*) from enqueued) as enqueued from page p

-- name: verify_next_key
with page as (select {exact_key:t} from {table} t where ({cursor_key:t}) > ({cursor:1}) order by {row_key:t} limit 1),
enqueued as (
    insert into {events} ({k}, backfill)
    select {row_key:p}, true from page p
    where not exists (select from {ledger} l where {is_row:p,l} and l.content_hash = 'failed')
    returning 1
)
select {row_text_key:p} as last_key, (select count(*) from enqueued) as enqueued from page p

-- name: entries_first_page
-- Ledger entries whose row is gone (deleted with the triggers off): processing their event writes the tombstone. A page, by the
-- primary keys of ledger and table: one statement for all of them would grow with the table. $1 rows.
with page ({k}, is_entry) as materialized (select {ledger_key:l}, l.content_hash is not null from {ledger} l order by {ledger_key:l} limit $1),
enqueued as (
    insert into {events} ({k}, backfill)
    select {ledger_key:p}, true from page p where p.is_entry and not exists (select from {table} t where {is_row:t,p})
      and not exists (select from {events} e where {same:e,p}) and not exists (select from {delayed} e where {same:e,p})
    returning 1
)
select {text_key:p} as last_key, count(*) over () as rows, (select count(*) from enqueued) as enqueued
from page p order by ({ledger_key:p}) desc limit 1

-- name: entries_next_page
-- $2 the last key of the page before.
with page ({k}, is_entry) as materialized (select {ledger_key:l}, l.content_hash is not null from {ledger} l where ({ledger_key:l}) > ({cursor:2}) order by {ledger_key:l} limit $1),
enqueued as (
    insert into {events} ({k}, backfill)
    select {ledger_key:p}, true from page p where p.is_entry and not exists (select from {table} t where {is_row:t,p})
      and not exists (select from {events} e where {same:e,p}) and not exists (select from {delayed} e where {same:e,p})
    returning 1
)
select {text_key:p} as last_key, count(*) over () as rows, (select count(*) from enqueued) as enqueued
from page p order by ({ledger_key:p}) desc limit 1

-- name: vectors_first_page
-- Vectors of a companion without a row: processing their event removes them. A page, by the primary keys. $1 rows.
with page ({k}, is_entry) as materialized (select {exact_key:h}, true from {home} h order by {row_key:h} limit $1),
enqueued as (
    insert into {events} ({k}, backfill)
    select {ledger_key:p}, true from page p where p.is_entry and not exists (select from {table} t where {is_row:t,p})
      and not exists (select from {events} e where {same:e,p}) and not exists (select from {delayed} e where {same:e,p})
    returning 1
)
select {text_key:p} as last_key, count(*) over () as rows, (select count(*) from enqueued) as enqueued
from page p order by ({ledger_key:p}) desc limit 1

-- name: vectors_next_page
-- $2 the last key of the page before.
with page ({k}, is_entry) as materialized (select {exact_key:h}, true from {home} h where ({cursor_key:h}) > ({cursor:2}) order by {row_key:h} limit $1),
enqueued as (
    insert into {events} ({k}, backfill)
    select {ledger_key:p}, true from page p where p.is_entry and not exists (select from {table} t where {is_row:t,p})
      and not exists (select from {events} e where {same:e,p}) and not exists (select from {delayed} e where {same:e,p})
    returning 1
)
select {text_key:p} as last_key, count(*) over () as rows, (select count(*) from enqueued) as enqueued
from page p order by ({ledger_key:p}) desc limit 1

-- name: share_watch
-- Before all other locks: whoever changes the watch waits for us, not we for him. Comes back with a row unless somebody does.
select w.id from sidecar.watches w where w.id = $1 for share skip locked

-- name: bound_lock_waits
-- Shorter than any user's session waits before it looks for a deadlock: we give up before it could choose the user's.
select set_config('lock_timeout', greatest(1, least(250, extract(epoch from current_setting('deadlock_timeout')::interval) * 500))::integer::text, true)

-- name: clear_first_keys
-- Before vectors of another space: the next keys whose old vectors go. Primary key of their home, in order. $1 rows.
select {row_text_key:h} as key from {home} h order by {row_key:h} limit $1

-- name: clear_next_keys
select {row_text_key:h} as key from {home} h where ({cursor_key:h}) > ({cursor:2}) order by {row_key:h} limit $1

-- name: lock_vectors
-- Rows of a companion; a user may be deleting some. One that does not come back is locked or gone.
select u.position, true as has_vector
from unnest({keys:1}) with ordinality as u({k}, position)
join {home} h on {is_row:h,u}
for update of h skip locked

-- name: find_vectors
select u.position from unnest({keys:1}) with ordinality as u({k}, position) join {home} h on {is_row:h,u}

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

-- name: mark_asleep
-- Registers of the watches $1: asleep for $2 seconds from now on; of $3: awake. Passes by what is locked.
select sidecar.mark_asleep($1, $2, $3)

-- name: forget_sidecar
delete from sidecar.sidecars where id = $1

-- name: hold_liveness
-- Says that the sidecar $1 lives, for as long as the session lasts. Waits up to lock_timeout for whoever looks whether it does. A
-- process that is stopped does not ping, and its session must not be ended for being idle.
select set_config('idle_session_timeout', '0', false), pg_advisory_lock_shared(hashtextextended('sidecar.lives.' || $1::uuid::text, 0))

-- name: other_sidecars
-- Small table. `is_unlocked`: not heard of for $2 seconds, and nobody has its lock. The lock is taken for the statement only.
select s.id, s.host, s.pid, s.seen_at,
       case when s.seen_at < clock_timestamp() - make_interval(secs => $2)
            then pg_try_advisory_xact_lock(hashtextextended('sidecar.lives.' || s.id::text, 0)) else false end as is_unlocked
from sidecar.sidecars s where s.id <> $1

-- name: forget_dead
-- $1 ids, $2 heartbeats. What is younger may still be asked for.
delete from sidecar.sidecars s using unnest($1::uuid[], $2::timestamptz[]) as d(id, seen_at)
where s.id = d.id and s.seen_at = d.seen_at and s.seen_at < clock_timestamp() - interval '30 s'

-- name: beat
-- The heartbeat. $8 the sidecar's clock in seconds since 1970, $9 texts and $10 views of pictures that its device does in a
-- second, NULL while not measured.
insert into sidecar.sidecars (id, host, pid, version, model, fingerprint, dimensions, clock_skew_s, texts_per_s, picture_views_per_s)
values ($1, $2, $3, $4, $5, $6, $7, $8 - extract(epoch from clock_timestamp())::float8, $9, $10)
on conflict (id) do update set seen_at = clock_timestamp(), clock_skew_s = excluded.clock_skew_s,
    texts_per_s = excluded.texts_per_s, picture_views_per_s = excluded.picture_views_per_s

-- name: record_progress
-- $2 rows embedded since the last call, $3 their mean lag in ms or NULL. A watch whose table was dropped meanwhile has none.
insert into sidecar.progress (watch_id, embedded_total, lag_ms)
select w.id, $2::bigint, $3::float8 from sidecar.watches w where w.id = $1 for key share
on conflict (watch_id) do update set embedded_total = progress.embedded_total + excluded.embedded_total,
    lag_ms = coalesce(excluded.lag_ms, progress.lag_ms), updated_at = clock_timestamp()

-- name: mark_broken
update sidecar.watches w set broken = $2 where w.id = $1 and w.unwatched_at is null and w.broken is distinct from $2

-- name: begin_raise_generation
-- It reads every ledger, once at start: about a minute for a hundred million rows, beyond the session's limit.
set local statement_timeout = 0

-- name: raise_generation
select sidecar.raise_generation()

-- name: try_index_lock
-- Session-level: two sidecars must not build the same index. $1 watch.
select pg_try_advisory_lock(hashtextextended('sidecar.index.' || $1::integer, 0))

-- name: schema_revision
select version_num from sidecar.alembic_version

-- name: installed_code
-- Which functions and views are installed: the digest of their files.
select code_digest from sidecar.installation()

-- name: waits_for_build
-- Whether a user's statement waits for the backend $1, which builds an index. (pg_stat_activity hides the waits of others
-- from a role with few rights.)
select exists (select from pg_locks l where not l.granted and l.pid <> $1::integer and $1::integer = any (pg_blocking_pids(l.pid)))

-- name: ping
-- Whether the server takes no writes from this session.
select current_setting('transaction_read_only')::boolean

-- name: prepare_guard
-- Has a guard whose sidecar is gone end within a second; where the server's system cannot tell, it ends after a minute.
do $$ begin
    perform set_config('client_connection_check_interval', '1s', false);
exception when invalid_parameter_value then
    null;
end $$

-- name: guard_sessions
-- Runs for ten seconds, or what session_guard.py puts in their place; each round is a transaction. Reads pg_stat_activity and pg_locks, takes no lock. A session of ours that has
-- waited for 2 s for the rest of a message pipeline holds what its transaction locked, and nobody else would end it. So does an
-- index build that a statement has waited for for 2 s: its own sidecar, if awake, would have cancelled it by then.
-- It ends only while nothing is in that state, however short: whoever comes next starts with a guard.
do $guard$
declare
    ends_at timestamptz := clock_timestamp() + interval '10 s';
    waiting boolean;
begin
    loop
        select coalesce(bool_or(true), false) into waiting from pg_stat_activity a
        where a.datname = current_database() and a.usename = current_user and a.application_name = 'sidecar'
          and a.state = 'active' and a.wait_event = 'ClientRead';
        exit when not waiting and clock_timestamp() > ends_at;
        perform pg_terminate_backend(a.pid) from pg_stat_activity a
        where a.datname = current_database() and a.usename = current_user and a.application_name = 'sidecar'
          and a.state = 'active' and a.wait_event = 'ClientRead' and a.state_change < clock_timestamp() - interval '2 s';
        perform pg_cancel_backend(a.pid) from pg_stat_activity a
        where a.datname = current_database() and a.usename = current_user and a.application_name = 'sidecar'
          and a.state = 'active' and a.query like '%index concurrently%' and a.pid <> pg_backend_pid()
          and exists (select from pg_locks l where not l.granted and l.waitstart < clock_timestamp() - interval '2 s'
                      and l.pid <> a.pid and a.pid = any (pg_blocking_pids(l.pid)));
        perform pg_sleep(0.1);
        commit;
    end loop;
end $guard$

-- name: become
-- For the rest of the session. $1 a role.
select set_config('role', $1, false)

-- name: set_lock_timeout
-- $1 with its unit.
select set_config('lock_timeout', $1, false)

-- name: build_serially
-- Without parallel workers a build needs no shared memory for its graph.
select set_config('max_parallel_maintenance_workers', '0', false)

-- name: record_index_failure
-- $2 why. The next attempt: after $3 seconds, doubled with each failure up to $4, and 25 % more or less. Returns in how many seconds.
insert into sidecar.index_failures as f (watch_id, message, next_try_at)
select w.id, $2, clock_timestamp() + make_interval(secs => $3 * (0.75 + random() / 2)) from sidecar.watches w where w.id = $1
on conflict (watch_id) do update set message = excluded.message, attempts = f.attempts + 1, failed_at = excluded.failed_at,
    next_try_at = clock_timestamp() + make_interval(secs => least($4, $3 * 2 ^ least(f.attempts, 20)) * (0.75 + random() / 2))
returning extract(epoch from next_try_at - clock_timestamp())::float8

-- name: forget_index_failure
delete from sidecar.index_failures f where f.watch_id = $1

-- name: cancel_build
select pg_cancel_backend($1::integer)

-- name: find_unindexed
-- Which watches may lack an index: one transaction for all of them. $1 watches.
select * from sidecar.find_unindexed($1)

-- name: index_state
-- What is left to do for the index, and whether it is time: vectors are there, the first backlog is done, nobody builds, and
-- the last failure was long enough ago.
-- Where nothing is left, the table is not looked at: its first vector may stand behind millions of rows that have none.
select i.steps,
       pg_get_userbyid(c.relowner) as owner, pg_has_role(c.relowner, 'usage') as is_owner,
       pg_has_role(c.relowner, case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end) as may_become_owner,
       exists (select from pg_stat_progress_create_index p join sidecar.tree_of(coalesce(w.companion, w.relation)) t on t.home = p.relid) as building,
       case when cardinality(i.steps) > 0 then exists (select from {home} h where h.{target} is not null) else false end as has_vectors,
       exists (select from {events} e where e.backfill and e.gen > $2) as has_backlog,
       exists (select from sidecar.index_failures f where f.watch_id = w.id and f.next_try_at > clock_timestamp()) as rests
from sidecar.watches w join pg_class c on c.oid = coalesce(w.companion, w.relation)
cross join lateral (
    select array(select s.step from sidecar.index_steps(w) with ordinality s(step, number) order by s.number) as steps offset 0
) i
where w.id = $1

-- name: status
select s.relation::text, s.target, s.kind, s.source, s.companion::text, s.state, s.rows, s.embedded, s.pending, s.failed, s.empty,
       s.truncated, s.coverage, s.oldest_pending, s.lag_ms, s.index, s.model, s.fingerprint, s.query, s.estimated, s.watch_id,
       s.index_statement, s.rows_per_s, s.companion_view::text, s.unreadable
from sidecar.status s

-- name: failures
select f.relation::text, f.target, f.key::text, f.reason, f.message, f.attempts, f.at from sidecar.failures f order by f.at desc limit $1
