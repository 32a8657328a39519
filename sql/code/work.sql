-- Statements of running sidecars call functions by name: those here, those in sidecar/postgres/events.sql and others.
-- tests/worker_functions.txt lists them. An older sidecar runs beside a newer schema, so a function that changes its arguments, its
-- result or its meaning gets a new name (find_work_v2), and the old one stays for one release.

-- Which watches have work, and small chores: one call for all watches.

-- Of these watches, those with events that may be claimed (`waiting`) or delayed events that are due (`due`). A queue without
-- pages is empty, which takes a fifth of the time to see; otherwise reads the primary key of events_N and index
-- delayed_N_run_at. A queue that is locked, as by unwatch, is skipped after 10 ms; any other error is left to the claim, which
-- knows how to report it. `floors`: for each watch, the generation above which all its events stood when the horizon was read;
-- `late`: transactions that were in flight then, each with a generation below its own (see horizon_floor).
create or replace function sidecar_internal.find_work(watch_ids integer[], floors bigint[], late bigint[])
returns table (watch_id integer, waiting boolean, due boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp set lock_timeout = '10ms' as $$
declare
    latest constant bigint := sidecar_internal.horizon_floor(9223372036854775807 || late);
    floor bigint;
begin
    for watch_id, floor in select u.id, u.floor from unnest(watch_ids, floors) u(id, floor) loop
        waiting := false;
        due := false;
        begin
            if pg_relation_size(to_regclass('sidecar_internal.events_' || watch_id)) > 0 then
                execute format('select (select e.gen from sidecar_internal.events_%s e where e.gen > $1 and (e.lease_until is null or e.lease_until < now())
                                        order by e.gen limit 1) is not null', watch_id) into waiting using least(floor, latest);
            end if;
            if pg_relation_size(to_regclass('sidecar_internal.delayed_' || watch_id)) > 0 then
                execute format('select (select d.run_at from sidecar_internal.delayed_%s d where d.run_at <= now() order by d.run_at limit 1) is not null',
                               watch_id) into due;
            end if;
        exception
            when lock_not_available or undefined_table then
                continue;
            when others then
                waiting := true;
        end;
        if waiting or due then
            return next;
        end if;
    end loop;
end $$;

-- The first events of these watches above their floors, leased or not: NULL if there are none. No row for a queue that is
-- locked or gone.
create or replace function sidecar_internal.find_first(watch_ids integer[], floors bigint[]) returns table (watch_id integer, first bigint)
language plpgsql stable set search_path = pg_catalog, pg_temp set lock_timeout = '10ms' as $$
declare
    floor bigint;
begin
    for watch_id, floor in select u.id, u.floor from unnest(watch_ids, floors) u(id, floor) loop
        begin
            first := null;
            if pg_relation_size(to_regclass('sidecar_internal.events_' || watch_id)) > 0 then
                execute format('select min(e.gen) from sidecar_internal.events_%s e where e.gen > $1', watch_id) into first using floor;
            end if;
            return next;
        exception when lock_not_available or undefined_table then
            continue;
        end;
    end loop;
end $$;

-- Starts the sweeps of these watches whose last one ended `interval_s` ago; the first comes that long after the watch. One that
-- took long is followed by nine times as long a rest, up to a day: a large table is not read all the time. Returns how many it
-- started. Writes nothing if none is due.
create or replace function sidecar_internal.start_sweeps(watch_ids integer[], interval_s double precision) returns bigint
language sql set search_path = pg_catalog, pg_temp as $$
    with due as (
        select u.id from unnest(watch_ids) u(id)
        left join sidecar_internal.scans s on s.watch_id = u.id and s.purpose = 'sweep'
        where s.watch_id is null or s.finished_at < now() - greatest(
            make_interval(secs => interval_s), least(9 * (s.finished_at - s.started_at), interval '1 day'))
    ), started as (
        insert into sidecar_internal.scans (watch_id, purpose, finished_at)
        select w.id, 'sweep', now() from due d join sidecar_internal.watches w on w.id = d.id and w.unwatched_at is null
        order by w.id for key share of w
        on conflict (watch_id, purpose) do update set last_key = null, phase = 'rows', started_at = now(), finished_at = null
            where scans.finished_at < now() - make_interval(secs => interval_s)
        returning finished_at is null as has_started
    )
    select count(*) from started s where s.has_started;
$$;

-- Deletes tombstones that no older event needs, up to 5,000 of each watch: a tombstone is needed while an older event may be in
-- flight. By index ledger_N_tombstones. Skips what is locked or gone. Returns for each watch how many, or why none.
create or replace function sidecar_internal.delete_tombstones_v2(watch_ids integer[], floors bigint[])
returns table (watch_id integer, deleted bigint, trouble text)
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '10ms' as $$
declare
    floor bigint;
begin
    for watch_id, floor in select u.id, u.floor from unnest(watch_ids, floors) u(id, floor) loop
        deleted := 0;
        trouble := null;
        begin
            execute format('delete from sidecar_internal.ledger_%1$s l
                            where l.ctid = any (array(select x.ctid from sidecar_internal.ledger_%1$s x where x.content_hash is null
                                and x.gen < (select coalesce(min(e.gen), 9223372036854775807) from sidecar_internal.events_%1$s e where e.gen > $1)
                                limit 5000 for update skip locked))', watch_id) using floor;
            get diagnostics deleted = row_count;
        exception when others then
            trouble := format('tombstones of watch %s stay for now: %s', watch_id, sqlerrm);
        end;
        return next;
    end loop;
end $$;

-- For sidecars of the version before.
create or replace function sidecar_internal.delete_tombstones(watch_ids integer[], floors bigint[]) returns setof text
language sql set search_path = pg_catalog, pg_temp set lock_timeout = '10ms' as $$
    select d.trouble from sidecar_internal.delete_tombstones_v2(watch_ids, floors) d where d.trouble is not null;
$$;

-- Of these watches, those with an index statement left to run: they want an index and have vectors to put into it, or a former
-- index has to be dropped. Not those that wait after a failure.
create or replace function sidecar_internal.find_unindexed(watch_ids integer[]) returns setof integer
language plpgsql stable set search_path = pg_catalog, pg_temp set lock_timeout = '10ms' as $$
declare
    w sidecar_internal.watches;
    has_entries boolean;
begin
    for w in select x.* from sidecar_internal.watches x
             where x.id = any (watch_ids)
               and not exists (select from sidecar_internal.index_failures f where f.watch_id = x.id and f.next_try_at > clock_timestamp())
             order by x.id loop
        begin
            execute format('select exists (select from sidecar_internal.ledger_%s)', w.id) into has_entries;
            if (has_entries or w.index_kind = 'none') and exists (select from sidecar_internal.index_steps(w)) then
                return next w.id;
            end if;
        exception when others then
            return next w.id; -- The index keeper's statement raises it again, and reports it.
        end;
    end loop;
end $$;

-- Sets the registers that triggers read: `asleep` for `for_s` from now on, `awake` from now on. They are sequences, which are
-- overwritten in place. A locked one, as by unwatch, is left as it is; a dropped watch has none.
create or replace function sidecar_internal.mark_asleep(asleep integer[], for_s double precision, awake integer[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '10ms' as $$
declare
    until_ms constant bigint := extract(epoch from clock_timestamp() + make_interval(secs => for_s)) * 1000;
    mark record;
begin
    for mark in select u.id, until_ms as value from unnest(asleep) u(id) union all select u.id, 1 from unnest(awake) u(id) loop
        begin
            perform setval(to_regclass('sidecar_internal.asleep_' || mark.id), mark.value);
        exception when lock_not_available or undefined_table then
            null; -- Its changes are found by polling.
        end;
    end loop;
end $$;
