-- The tables of one watch, events_N, delayed_N and ledger_N, and the generations that order them.

-- Creates events_N, delayed_N and asleep_N of a watch.
create or replace function sidecar_internal.create_queue(watch_id integer, key_definitions text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    keys text := sidecar_internal.for_each_key(key_definitions, key_definitions, 'k%1$s %3$s');
begin
    -- An event means "bring this key up to date". Append-only, duplicates are harmless; a NULL key is a TRUNCATE. There is no
    -- CHECK, which would cost each row of a user's INSERT 1.5 us. The small fillfactor keeps leases HOT. The partial index holds
    -- the few outstanding events of the backfill, which are then found without reading a large live backlog.
    execute format($sql$
        create table sidecar_internal.events_%1$s (
            gen bigint primary key default nextval('sidecar_internal.generation'),
            %2$s,
            enqueued_at timestamptz not null default clock_timestamp(),
            backfill boolean not null default false,
            force boolean not null default false,
            lease_until timestamptz,
            lease_token uuid,
            attempts smallint not null default 0
        ) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
                autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
                autovacuum_vacuum_cost_delay = 0);
        create index events_%1$s_backfill on sidecar_internal.events_%1$s (gen) where backfill;
        create table sidecar_internal.delayed_%1$s (
            gen bigint primary key,
            %2$s,
            enqueued_at timestamptz not null,
            backfill boolean not null,
            force boolean not null,
            attempts smallint not null,
            run_at timestamptz not null
        );
        create index delayed_%1$s_run_at on sidecar_internal.delayed_%1$s (run_at);
    $sql$, watch_id, keys);
    perform sidecar_internal.create_register(watch_id);
end $$;

-- Creates asleep_N, the time until which a sidecar that would fetch from this queue is asleep, in ms since 1970. It is a
-- sequence because triggers read it for every row: a sequence is one value that is overwritten in place, outside of snapshots,
-- where an updated row would leave a version per nap that an old snapshot keeps (13 -> 642 ms for an UPDATE of 1,000 rows after
-- a day). It expires by itself, so a sidecar that is killed while asleep costs nothing for longer.
create or replace function sidecar_internal.create_register(watch_id integer) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('create sequence sidecar_internal.asleep_%1$s minvalue 0 owned by sidecar_internal.events_%1$s.gen', watch_id);
    perform setval(format('sidecar_internal.asleep_%s', watch_id), 1);
end $$;

-- What a sidecar needs to know which events may still appear: those above `drawn`, and those of transactions in flight. `drawn`
-- is read before the transactions: the function is volatile, so that each statement has its own snapshot. A snapshot ends after
-- the last finished transaction: later ones, which may have drawn long ago, are not listed in it. So all ids up to the next one
-- to be assigned count as in flight (age() tells it without assigning one); ids of subtransactions among them do no harm. If
-- they are too many to list, `drawn` is 0: nothing is known for now.
create or replace function sidecar_internal.read_horizon(out drawn bigint, out next_xid text, out in_flight text[])
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    next_low bigint;
    seen pg_snapshot;
    listed_below bigint;
    unlisted bigint;
begin
    select case when s.is_called then s.last_value else s.last_value - 1 end into drawn from sidecar_internal.generation s;
    next_low := age('3'::xid) + 3::bigint;
    seen := pg_current_snapshot();
    listed_below := pg_snapshot_xmax(seen)::text::bigint;
    -- 32-bit ids, modulo 2^32; the snapshot may be newer than next_low.
    unlisted := greatest((next_low - listed_below + 2147483648) & 4294967295, 2147483648) - 2147483648;
    next_xid := (listed_below + unlisted)::text;
    if unlisted > 2000 then
        drawn := 0;
        in_flight := '{}';
    else
        in_flight := array(select x::text from pg_snapshot_xip(seen) x
                           union all select (listed_below + i)::text from generate_series(0, unlisted - 1) i);
    end if;
end $$;

-- The generation above which a statement has to look for events. `front` is the generation above which all events stood that
-- were visible at the last look, followed by pairs: a transaction that was in flight, and a generation below its own. If it has
-- ended by now, in the caller's snapshot, its events may be there.
create or replace function sidecar_internal.horizon_floor(front bigint[]) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
    select least(front[1], min(front[i + 1]) filter (where pg_visible_in_snapshot(front[i]::text::xid8, pg_current_snapshot())))
        from generate_series(2, cardinality(front) - 1, 2) i;
$$;

-- Creates ledger_N, which records what each stored vector was made from. `content_hash` NULL is a tombstone: the row is gone,
-- but a slower sidecar may still hold an older event of it. `version` is drawn at random with each write and tells two entries
-- of a key apart, also after a server crash, which may assign the id of a lost transaction again. The partial indexes find
-- tombstones, and empty and failed rows; ordinary rows are in neither, nor are truncated texts, which may be all there are.
create or replace function sidecar_internal.create_ledger(watch_id integer, key_definitions text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    keys text := sidecar_internal.for_each_key(key_definitions, key_definitions, 'k%1$s %3$s');
    key_names text := sidecar_internal.for_each_key(key_definitions, null, 'k%1$s');
begin
    execute format($sql$
        create table sidecar_internal.ledger_%1$s (
            %2$s,
            gen bigint not null,
            content_hash bytea check (octet_length(content_hash) = 32 or content_hash in ('empty', 'failed')),
            vector_digest bytea check (octet_length(vector_digest) = 32),
            truncated boolean not null default false,
            unreadable boolean not null default false,
            embedded_at timestamptz not null default clock_timestamp(),
            version bigint not null default (floor(random() * 9007199254740992))::bigint,
            primary key (%3$s),
            check ((vector_digest is null) = (content_hash is null or octet_length(content_hash) < 32))
        ) with (fillfactor = 80);
        create index ledger_%1$s_tombstones on sidecar_internal.ledger_%1$s (gen) where content_hash is null;
        create index ledger_%1$s_exceptions on sidecar_internal.ledger_%1$s (gen) where octet_length(content_hash) < 32;
    $sql$, watch_id, keys, key_names);
end $$;

-- Drops what is left of a watch when its triggers are gone. `keep_ledger` keeps what is known of its vectors for the next watch
-- of the table. Drops the ledger before the events, the order in which sidecar.status reads them. CASCADE, because a companion
-- or a restored copy of the table may still have triggers that call the functions.
create or replace function sidecar_internal.drop_queue(watch_id integer, keep_ledger boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
begin
    if not keep_ledger then
        execute format('drop table if exists sidecar_internal.ledger_%1$s, sidecar_internal.former_%1$s', watch_id);
    end if;
    execute format('drop table if exists sidecar_internal.events_%1$s, sidecar_internal.delayed_%1$s', watch_id);
    execute format('drop function if exists sidecar_internal.enqueue_%1$s_statement(), sidecar_internal.enqueue_%1$s_row() cascade', watch_id);
    delete from sidecar_internal.failures d where d.watch_id = drop_queue.watch_id;
    delete from sidecar_internal.scans s where s.watch_id = drop_queue.watch_id;
    delete from sidecar_internal.breakages b where b.watch_id = drop_queue.watch_id;
    delete from sidecar_internal.index_failures f where f.watch_id = drop_queue.watch_id;
end $$;

-- Raises the sequence above every generation in use. After a restore of data without its sequence it would otherwise return
-- generations below the ledger's, and every result would look outdated. Each sidecar calls it once at its start. Primary keys
-- of events_N and delayed_N. A small ledger is read; a large one only if the sequence is behind where it stood when results were
-- last recorded (progress.drawn), or if that is not known: reading a hundred million entries takes a minute.
create or replace function sidecar_internal.raise_generation() returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w record;
    used bigint := 0;
    found_gen bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('sidecar.raise_generation', 0));
    for w in select x.id, greatest(x.truncated_gen, p.drawn) as least_used, to_regclass(format('sidecar_internal.ledger_%s', x.id)) as ledger,
                    coalesce(p.drawn_at = p.updated_at and p.drawn <= pg_sequence_last_value('sidecar_internal.generation'), false) as is_ahead
             from sidecar_internal.watches x left join sidecar_internal.progress p on p.watch_id = x.id loop
        used := greatest(used, w.least_used);
        for found_gen in select sidecar_internal.highest_generation(format('sidecar_internal.%s_%s', t, w.id))
                         from unnest(array['events', 'delayed'] || case
                             when w.is_ahead and pg_relation_size(w.ledger) > 16 * 1024 * 1024 then '{}' else array['ledger'] end) t loop
            used := greatest(used, found_gen);
        end loop;
    end loop;
    -- With a margin, because other sessions draw from the sequence before setval.
    perform setval('sidecar_internal.generation', used + 100000)
        from sidecar_internal.generation s where used > case when s.is_called then s.last_value else s.last_value - 1 end;
    if found then
        perform sidecar_internal.renumber_events(x.id) from sidecar_internal.watches x where x.unwatched_at is null;
    end if;
    return used;
end $$;

-- Gives new generations to the events of a queue that are not leased. While the sequence lagged, some got generations below
-- `truncated_gen`, so their results would look older than a TRUNCATE that came before them. Their order is kept.
create or replace function sidecar_internal.renumber_events(watch_id integer) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if to_regclass(format('sidecar_internal.events_%s', watch_id)) is not null then
        execute format('with waiting as (select e.gen from sidecar_internal.events_%1$s e
                                         where e.lease_until is null or e.lease_until < now() order by e.gen for update skip locked),
                             numbered as materialized (select w.gen, nextval(''sidecar_internal.generation'') as fresh
                                                       from (select w.gen from waiting w order by w.gen offset 0) w)
                        update sidecar_internal.events_%1$s e set gen = n.fresh from numbered n where e.gen = n.gen', watch_id);
    end if;
end $$;

-- The highest generation in a table. NULL if it is empty or missing.
create or replace function sidecar_internal.highest_generation(queue text) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    highest bigint;
begin
    if to_regclass(queue) is not null then
        execute format('select max(q.gen) from %s q', to_regclass(queue)) into highest;
    end if;
    return highest;
end $$;

-- The tables of one watch in schema sidecar_internal.
create or replace function sidecar_internal.queue_of(watch_id integer) returns setof regclass
language sql stable set search_path = pg_catalog, pg_temp as $$
    select c.oid::regclass from pg_class c
        where c.relnamespace = 'sidecar_internal'::regnamespace and c.relkind = 'r'
          and c.relname ~ format('^(events|delayed|ledger|former)_%s$', watch_id);
$$;

-- Makes the installer the owner of all that belongs to a watch, whatever role called sidecar.watch: trigger functions then run with
-- the rights of a role that has none on users' tables, and a later migration may change everything.
create or replace function sidecar_internal.own_queue(watch_id integer) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    installer regrole := sidecar_internal.installer();
    made record;
begin
    for made in select format('table %s', c.oid::regclass) as name from pg_class c
                where c.oid in (select sidecar_internal.queue_of(watch_id)) and c.relowner <> installer
                union all
                select format('function %s', p.oid::regprocedure) from pg_proc p
                where p.pronamespace = 'sidecar_internal'::regnamespace and p.proowner <> installer
                  and p.proname ~ format('^enqueue_%s_[a-z]+$', watch_id) loop
        execute format('alter %s owner to %s', made.name, installer);
    end loop;
end $$;

-- A FROM item of all keys in the queue, as e.k1, e.k2 ...
create or replace function sidecar_internal.pending_of(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('(select %1$s from sidecar_internal.events_%2$s union all select %1$s from sidecar_internal.delayed_%2$s) e',
                  sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'), w.id);
$$;
