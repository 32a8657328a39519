-- sidecar.unwatch. Locks are taken in the order that watch.sql describes.

-- Drops our triggers on the tables that still exist, and the view of a companion. Locks them ACCESS EXCLUSIVE, the watched
-- table first.
create or replace function sidecar_internal.release_tables(w sidecar_internal.watches, limits record) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    locked regclass;
begin
    for locked in select t.relation from sidecar_internal.triggers_of(w) t group by t.relation order by t.relation = w.relation desc loop
        perform sidecar_internal.lock_table(locked, 'access exclusive', limits);
    end loop;
    perform sidecar_internal.drop_triggers(w);
    perform sidecar_internal.release_companion(w);
end $$;

-- Ends a watch. Vectors and ledger stay, so that watching again embeds only what has changed, unless `drop_target`. Also works
-- for a dropped table: select sidecar.unwatch(16384, 'photo_embedding'). `drop_target` also works for a watch that has ended.
create or replace function sidecar.unwatch(relation regclass, target text default null, drop_target boolean default false)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches;
    limits constant record := sidecar_internal.wait_limits();
begin
    if exists (select from pg_class c where c.oid = unwatch.relation) then
        perform sidecar_internal.follow_changes(relation);
    end if;
    w := sidecar_internal.find_watch(relation, target);
    if w.id is null or (w.unwatched_at is not null and not drop_target) then
        w := sidecar_internal.get_watch(relation, target);
    end if;
    for attempt in 1 .. limits.tries loop
        begin
            perform sidecar_internal.end_watch(w.id, relation, drop_target, limits);
            perform set_config('lock_timeout', limits.own, true);
            perform pg_notify('sidecar_watches', '');
            return;
        exception when lock_not_available then
            null; -- The try is undone, and the user's table is unlocked.
        end;
    end loop;
    perform sidecar_internal.raise_in_use(w.relation, w.companion, w.id, limits.own, limits.began);
end $$;

-- One try of unwatch, or of the first half of watch(replace). Raises lock_not_available.
create or replace function sidecar_internal.end_watch(watch_id integer, relation regclass, drop_target boolean, limits record) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches;
    is_there constant boolean := exists (select from pg_class c where c.oid = end_watch.relation);
begin
    perform set_config('lock_timeout', limits.theirs, true);
    select * into w from sidecar_internal.watches x where x.id = watch_id and (x.unwatched_at is null or drop_target) for update;
    if not found then
        raise exception 'table % is not watched any longer', relation using errcode = 'undefined_object',
            hint = 'Another session has just ended the watch.';
    end if;
    perform set_config('lock_timeout', limits.ours, true);
    perform sidecar_internal.release_tables(w, limits);
    perform sidecar_internal.revoke_table(w);
    -- The OID of a companion that was dropped before a dump may belong to another table after the restore.
    if drop_target and exists (select from pg_class c where c.oid = coalesce(w.companion, w.relation))
            and (w.companion is null or exists (select from pg_attribute a where a.attrelid = w.companion and a.attname = w.target
                                                and a.atttypid = format('%I.vector', sidecar_internal.vector_schema())::regtype)) then
        perform sidecar_internal.drop_target(w, limits);
    end if;
    perform sidecar_internal.drop_queue(w.id, keep_ledger => is_there and not drop_target);
    if is_there and not drop_target then
        update sidecar_internal.watches x set unwatched_at = now(), paused = false, broken = null where x.id = w.id;
    else
        delete from sidecar_internal.watches x where x.id = w.id;
    end if;
end $$;
