-- The functions that triggers call: they append the keys of a user's statement to the queue of a watch.

-- Marks a watch as broken, once per code. Called inside triggers, so it must not raise. It warns only when it records: a
-- warning for each of a million rows is of no use.
create or replace function sidecar_internal.report_breakage(watch_id integer, code text, message text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from sidecar_internal.breakages b
                   where b.watch_id = report_breakage.watch_id and b.code = report_breakage.code) then
        raise warning 'sidecar: watch % could not record a change (%): %', watch_id, code, message
            using hint = 'Rows may go without a fresh vector until sidecar.watch is called again: see sidecar.status.';
        insert into sidecar_internal.breakages (watch_id, code, message) values (watch_id, code, message);
    end if;
exception when others then
    raise warning 'sidecar: watch % could not report its fault: %', watch_id, sqlerrm;
end $$;

-- True if the watch of a queue exists and is active. A schema that was restored without its rows has triggers and queues of
-- unknown watches: they do nothing. Called for the first event of a queue only: from then on asleep_N is set
-- (pg_sequence_last_value is NULL before), which a trigger reads in 0.2 us.
create or replace function sidecar_internal.activate_queue(watch_id integer) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from sidecar_internal.watches w where w.id = watch_id and w.unwatched_at is null) then
        return false;
    end if;
    perform setval(format('sidecar_internal.asleep_%s', watch_id), 1);
    return true;
end $$;

-- A generation above all that the queue of one watch holds. Called after an event met another one with its generation, because
-- the sequence lags behind restored data. Sequences are not transactional, so all sessions continue from here.
create or replace function sidecar_internal.free_generation(watch_id integer) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    used bigint;
begin
    select greatest(sidecar_internal.highest_generation(format('sidecar_internal.events_%s', watch_id)),
                    sidecar_internal.highest_generation(format('sidecar_internal.delayed_%s', watch_id)), max(w.truncated_gen))
        into used from sidecar_internal.watches w;
    -- With a margin, because other sessions draw from the sequence before setval.
    perform setval('sidecar_internal.generation', used + 100000) from sidecar_internal.generation s where s.last_value <= used;
    return nextval('sidecar_internal.generation');
end $$;

-- Wakes the sleeping sidecars. A NOTIFY makes its commit take a lock that the whole cluster shares: 16 clients inserted 3,200
-- rows/s with it and 12,800 without. So it is sent only while a sidecar is asleep (asleep_N), and at most once in 5 ms: a
-- suppressed one has just been sent by another session, or the event is found by polling. It is never sent where transactions
-- may be prepared, because PREPARE TRANSACTION fails after it; nor while a hanging listener has filled half of the notification
-- queue, because COMMIT fails when it is full. All of this is read outside of snapshots: what every user's statement reads must
-- not leave versions behind, which an old snapshot would keep.
create or replace function sidecar_internal.notify_sleepers() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    now_ms constant bigint := extract(epoch from clock_timestamp()) * 1000;
begin
    if abs(now_ms - coalesce(pg_sequence_last_value('sidecar_internal.notified'), 0)) >= 5
            and current_setting('max_prepared_transactions') = '0' and pg_notification_queue_usage() < 0.5 then
        perform setval('sidecar_internal.notified', now_ms);
        perform pg_notify('sidecar', '');
    end if;
end $$;

-- Wakes the sidecars if one that would fetch from this watch is asleep. For all callers but the triggers of a watch, which name
-- asleep_N themselves.
create or replace function sidecar_internal.wake_sleepers(watch_id integer) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if to_timestamp(pg_sequence_last_value(format('sidecar_internal.asleep_%s', watch_id)::regclass) / 1000.0::float8) > clock_timestamp() then
        perform sidecar_internal.notify_sleepers();
    end if;
end $$;

-- Creates the trigger functions of one watch. They run with the rights of the installer and must not fail the user's statement,
-- for instance because a key column was renamed. So they first use all names in a block that catches errors and writes nothing:
-- a block that writes would cost a subtransaction id per statement and row. nextval belongs to it, as it takes no such id. The
-- insert that follows cannot fail: there is no CHECK, and ON CONFLICT handles a sequence that lags behind restored data. Keys
-- are compared by their binary images and stored only in the type of the queue: nothing is looked up that a user could define.
-- The body is a literal, %L: a column may be called `$f$`, and what follows the end of a dollar quote would run with the rights
-- of the role that watches or migrates. Costs 6 to 7 us per row of a bulk insert (1.5 of it ON CONFLICT; two CHECKs had cost 3).
-- Statement triggers cost 2 us, but their transition tables hold whole rows, including pictures, and are written to temporary
-- files beyond work_mem.
create or replace function sidecar_internal.create_trigger_functions(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    k text := sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s');           -- k1, k2
    new_key text := sidecar_internal.for_each_key(w.key_columns, null, 'new.%2$I');  -- new.id, new.region
    old_key text := sidecar_internal.for_each_key(w.key_columns, null, 'old.%2$I');
    sleeper text := format($code$
            if asleep_until_ms > 1 and to_timestamp(asleep_until_ms / 1000.0::float8) > clock_timestamp() then
                perform sidecar_internal.notify_sleepers();
            end if;$code$);
begin
    execute format('create or replace function sidecar_internal.enqueue_%s_row() returns trigger '
                   'language plpgsql security definer set search_path = pg_catalog, pg_temp as %L', w.id, format($body$
        declare
            asleep_until_ms bigint;
            generation bigint;
        begin
            begin
                asleep_until_ms := pg_sequence_last_value('sidecar_internal.asleep_%1$s'::regclass);
                if asleep_until_ms is null and not sidecar_internal.activate_queue(%1$s) then
                    return null;
                elsif not (case when tg_op = 'DELETE' then %6$s else %5$s end) then
                    raise datatype_mismatch using message = 'the type of a key column has changed';
                elsif not has_table_privilege('sidecar_internal.events_%1$s', 'insert') then
                    raise insufficient_privilege using message = 'the queue of the watch cannot be written';
                end if;
                generation := nextval('sidecar_internal.generation'::regclass);
            exception when others then
                perform sidecar_internal.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op <> 'DELETE' then
                loop
                    insert into sidecar_internal.events_%1$s (gen, %2$s, force) values (generation, %3$s, tg_nargs > 0)
                        on conflict do nothing;
                    exit when found;
                    generation := sidecar_internal.free_generation(%1$s);
                end loop;
            end if;
            if tg_op <> 'INSERT' then -- An INSERT computes none of this.
                if tg_op = 'DELETE' or record_image_ne(row(%3$s), row(%4$s)) then
                    if tg_op = 'UPDATE' then
                        generation := nextval('sidecar_internal.generation'::regclass);
                    end if;
                    loop
                        insert into sidecar_internal.events_%1$s (gen, %2$s) values (generation, %4$s) on conflict do nothing;
                        exit when found;
                        generation := sidecar_internal.free_generation(%1$s);
                    end loop;
                end if;
            end if;
            %7$s
            return null;
        end
    $body$, w.id, k, new_key, old_key, sidecar_internal.keys_fit(w, 'new'), sidecar_internal.keys_fit(w, 'old'), sleeper));

    -- For TRUNCATE; and for INSERT and DELETE of triggers of 0016 that could not be replaced yet.
    execute format('create or replace function sidecar_internal.enqueue_%s_statement() returns trigger '
                   'language plpgsql security definer set search_path = pg_catalog, pg_temp as %L', w.id, format($body$
        declare
            asleep_until_ms bigint;
            generation bigint;
        begin
            begin
                asleep_until_ms := pg_sequence_last_value('sidecar_internal.asleep_%1$s'::regclass);
                if asleep_until_ms is null and not sidecar_internal.activate_queue(%1$s) then
                    return null;
                elsif not has_table_privilege('sidecar_internal.events_%1$s', 'insert') then
                    raise insufficient_privilege using message = 'the queue of the watch cannot be written';
                elsif tg_op <> 'TRUNCATE' then
                    insert into sidecar_internal.events_%1$s (%2$s) select %3$s from changed_rows r where %4$s limit 0;
                end if;
                generation := nextval('sidecar_internal.generation'::regclass);
            exception when others then
                perform sidecar_internal.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op = 'TRUNCATE' then
                loop
                    insert into sidecar_internal.events_%1$s (gen) values (generation) on conflict do nothing;
                    exit when found;
                    generation := sidecar_internal.free_generation(%1$s);
                end loop;
            else
                insert into sidecar_internal.events_%1$s (%2$s) select %3$s from changed_rows r where %4$s;
                if not found then
                    if exists (select from changed_rows) then
                        perform sidecar_internal.report_breakage(%1$s, '42804', 'the type of a key column has changed');
                    end if;
                    return null;
                end if;
            end if;
            %5$s
            return null;
        end
    $body$, w.id, k, sidecar_internal.for_each_key(w.key_columns, null, 'r.%2$I'), sidecar_internal.keys_fit(w, 'r'), sleeper));

    execute format('revoke all on function sidecar_internal.enqueue_%1$s_statement(), sidecar_internal.enqueue_%1$s_row() from public', w.id);
end $$;
