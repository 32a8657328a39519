-- sidecar.backlog: one number for an autoscaler.

-- Rows of one watch that a sidecar could embed now, whether claimed or not: events, delayed events that are due, and what a backfill
-- has still to read. A pass over the table and an index that a sidecar builds count as at least one: ending the last sidecar would
-- end them too. A sweep does not: it goes on where it was. Of a queue or table above 16 MB the rows are estimated.
create or replace function sidecar_internal.backlog_of(w sidecar_internal.watches) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    queue constant text := format('sidecar_internal.events_%s', w.id);
    queue_bytes constant bigint := pg_relation_size(to_regclass(queue));
    passes constant text[] := array(select s.purpose from sidecar_internal.scans s
                                    where s.watch_id = w.id and s.finished_at is null and s.purpose <> 'sweep');
    events bigint := 0;
    due bigint := 0;
    ledger record;
begin
    if queue_bytes > 16 * 1024 * 1024 then
        events := greatest(1, (sidecar_internal.count_rows(queue::regclass, false)).n);
    elsif queue_bytes > 0 then
        execute format('select count(*) from %s', queue) into events;
    end if;
    if pg_relation_size(to_regclass(format('sidecar_internal.delayed_%s', w.id))) > 0 then
        execute format('select count(*) from (select from sidecar_internal.delayed_%s d where d.run_at <= now() limit 100000) x', w.id) into due;
    end if;
    if 'backfill' = any (passes) then
        ledger := sidecar_internal.count_ledger(w, false, (
            select s.start_gen from sidecar_internal.scans s where s.watch_id = w.id and s.purpose = 'backfill' and s.force));
        events := greatest(events, (sidecar_internal.count_rows(w.relation, false)).n - ledger.entries + ledger.updates);
    end if;
    if events + due = 0 and (cardinality(passes) > 0 or sidecar_internal.holds_build_lock(w.id)) then
        return 1;
    end if;
    return events + due;
end $$;

-- True while a sidecar builds the index of this watch: it then holds an advisory lock.
create or replace function sidecar_internal.holds_build_lock(watch_id integer) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_locks l where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
                   and l.database = (select d.oid from pg_database d where d.datname = current_database())
                   and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('sidecar.index.' || watch_id, 0));
$$;

-- True if no worker could work on the watch: there are some, and each of them lacks a right.
create or replace function sidecar_internal.is_denied_to_all(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(bool_and(sidecar_internal.denial_of(w, pg_get_userbyid(r.role)) is not null), false)
        from sidecar_internal.roles() r where r.kind = 'worker';
$$;

-- True if vectors of this model may go into the watch. A model is a name, as VISION_MODEL_ID has it, or a fingerprint.
create or replace function sidecar_internal.takes_model(w sidecar_internal.watches, model text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when w.fingerprint is not null then m.name in (w.fingerprint, regexp_replace(w.encoder, '^hf-hub:', ''))
                else w.model is null or m.name = regexp_replace(w.model, '^hf-hub:', '') end
        from (select regexp_replace(btrim(takes_model.model), '^hf-hub:', '') as name) m;
$$;

-- How much work there is for sidecars, with or without one running. Watches whose queue is empty cost nothing but a look at its size.
create or replace function sidecar.backlog(model text default null) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set row_security = off set plan_cache_mode = force_generic_plan as $$
declare
    w sidecar_internal.watches;
    waiting bigint;
    total bigint := 0;
begin
    for w in select * from sidecar_internal.watches x
             where x.unwatched_at is null and not x.paused and (backlog.model is null or sidecar_internal.takes_model(x, backlog.model))
             order by x.id loop
        begin
            waiting := sidecar_internal.backlog_of(w);
            if waiting > 0 and sidecar_internal.fault_of(w) is null and not sidecar_internal.is_denied_to_all(w) then
                total := total + waiting;
            end if;
        exception when undefined_table or syntax_error then
            continue; -- dropped after the snapshot of this statement
        end;
    end loop;
    return total;
end $$;
comment on function sidecar.backlog is
    'Rows that sidecars could embed now, whether one is running or not: what an autoscaler needs. Paused and broken watches, failed rows '
    'and rows whose next attempt is not due do not count. With model, a name or a fingerprint, only watches that take its vectors. '
    'Estimated for large tables.';
