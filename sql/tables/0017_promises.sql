-- What keeps promises that the tables of 0016 could not keep. Only what `create or replace` cannot do; code stands in sql/code.

-- Ledgers: a version that never comes back. A constant at first, which writes no row anew; xmin tells the present entries apart.
do $$
declare
    ledger regclass;
begin
    for ledger in select c.oid from pg_class c
                  where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'r' and c.relname ~ '^(ledger|former)_[0-9]+$' loop
        execute format('alter table %s add column version bigint not null default 0', ledger);
        execute format('alter table %s alter column version set default (floor(random() * 9007199254740992))::bigint', ledger);
    end loop;
end $$;

-- Registers of sleeping sidecars, which triggers read in place of `wake`: see create_register and notify_sleepers. `wake` stays
-- for sidecars of before, which write to it; their rows wake nobody any more, so they find work by polling.
create sequence sidecar.notified minvalue 0;  -- when a trigger last sent a NOTIFY, in ms since 1970
do $$
declare
    installer constant regrole := (select n.nspowner from pg_namespace n where n.nspname = 'sidecar');
    w record;
begin
    execute format('alter sequence sidecar.notified owner to %s', installer);
    for w in select x.id, c.relowner::regrole as owner from sidecar.watches x
             join pg_class c on c.oid = to_regclass(format('sidecar.events_%s', x.id)) loop
        execute format('create sequence sidecar.asleep_%s minvalue 0', w.id);
        execute format('alter sequence sidecar.asleep_%s owner to %s', w.id, w.owner);
        execute format('alter sequence sidecar.asleep_%1$s owned by sidecar.events_%1$s.gen', w.id);
        perform setval(format('sidecar.asleep_%s', w.id), 1);
    end loop;
end $$;
drop function if exists sidecar.wake_sleepers();
drop function if exists sidecar.triggers_of(sidecar.watches);  -- it has another column
drop function if exists sidecar.needs_row_triggers(regclass);

-- Scans in phases: first the rows of the table, then the entries of the ledger, then the vectors of the companion; a page each.
alter table sidecar.scans add column phase text not null default 'rows' check (phase in ('rows', 'entries', 'vectors'));

-- Tombstones have an index of their own, and texts that were cut are in none: that was all of a table of articles.
do $$
declare
    ledger record;
begin
    for ledger in select c.relname as name from pg_class c
                  where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'r' and c.relname ~ '^(ledger|former)_[0-9]+$' loop
        execute format('drop index if exists sidecar.%1$s_exceptions;
                        create index %1$s_tombstones on sidecar.%1$s (gen) where content_hash is null;
                        create index %1$s_exceptions on sidecar.%1$s (gen) where octet_length(content_hash) < 32', ledger.name);
    end loop;
end $$;
drop function if exists sidecar.count_queue(sidecar.watches);

-- Keys of rows that a clearing met locked, and has to come back for.
alter table sidecar.scans add column passed_by text[] not null default '{}';

-- A key that is too wide for an index: `key` then is its digest, as sidecar.failure_key makes it.
alter table sidecar.dead_letters add column wide_key jsonb;
update sidecar.dead_letters set wide_key = key, key = jsonb_build_object('digest',
    encode(int8send(jsonb_hash_extended(key, 0)) || int8send(jsonb_hash_extended(key, 1)), 'hex')) where octet_length(key::text) > 1000;

-- Readers are told whether a row is done, and no hash; keys are read by input functions, so no text is cast to a key's type.
drop function if exists sidecar.newest_event(sidecar.watches, jsonb), sidecar.newest_event_of(integer, jsonb),
    sidecar.ledger_entry_of(integer, jsonb), sidecar.check_not_failed(sidecar.watches, jsonb, bytea),
    sidecar.key_condition(sidecar.watches, boolean), sidecar.has_its_types(sidecar.watches);

-- Index builds ----------------------------------------------------------------------------------------------------------------
-- Why the last attempt at the HNSW index of a watch failed, and when the next one is due. Kept here, so that a restarted
-- sidecar, or another one, does not begin at once what has just failed after an hour. Gone with the first success.
create table sidecar.index_failures (
    watch_id        integer     primary key references sidecar.watches on delete cascade,
    message         text        not null,
    attempts        integer     not null default 1,
    failed_at       timestamptz not null default clock_timestamp(),
    next_try_at     timestamptz not null
);

-- They take limits for their waits now.
drop function if exists sidecar.lock_table(regclass, text);
drop function if exists sidecar.release_tables(sidecar.watches);
drop function if exists sidecar.drop_target(sidecar.watches);
drop function if exists sidecar.start_watch(sidecar.watches, sidecar.watches, text);
