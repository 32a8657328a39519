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

-- The watch that unwatch ends: an active one or, with `drop_target`, also one that has ended. `target` NULL: the only one.
create or replace function sidecar_internal.watch_to_end(relation regclass, target text, drop_target boolean) returns sidecar_internal.watches
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    is_watched constant boolean := exists (select from sidecar_internal.watches x where x.relation = watch_to_end.relation and x.unwatched_at is null);
    ended text[];
    calls text;
begin
    select array_agg(x.target order by x.target), string_agg(format('select sidecar.unwatch(%L, %L, drop_target => true);', x.relation, x.target), ' ' order by x.target)
        into ended, calls
        from sidecar_internal.watches x
        where x.relation = watch_to_end.relation and x.unwatched_at is not null
          and (x.target = watch_to_end.target or (watch_to_end.target is null and not is_watched));
    if ended is null then
        return sidecar_internal.get_watch(relation, target);
    elsif drop_target and cardinality(ended) = 1 then
        return sidecar_internal.find_watch(relation, ended[1]);
    elsif drop_target then
        raise exception 'table % has % watches that have ended', relation, cardinality(ended) using errcode = 'ambiguous_column',
            hint = 'Name the target: ' || calls;
    end if;
    raise exception '% is no longer watched', case when cardinality(ended) > 1 then format('table %s', relation) else format('%s.%I', relation, ended[1]) end
        using errcode = 'undefined_object', hint = 'Its vectors are still there. To delete them: ' || calls;
end $$;

-- Ends a watch. Vectors and ledger stay, so that watching again embeds only what has changed, unless `drop_target`. Also works
-- for a dropped table: select sidecar.unwatch(16384, 'photo_embedding'). `drop_target` also works for a watch that has ended.
-- Notices name what stays in the user's schemas, with the statement that removes it.
create or replace function sidecar.unwatch(relation regclass, target text default null, drop_target boolean default false)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches;
    limits constant record := sidecar_internal.wait_limits();
begin
    if exists (select from pg_class c where c.oid = unwatch.relation) then
        perform sidecar_internal.follow_changes(relation);
    end if;
    w := sidecar_internal.watch_to_end(relation, target, drop_target);
    for attempt in 1 .. limits.tries loop
        begin
            perform sidecar_internal.end_watch(w.id, relation, drop_target, limits);
            perform set_config('lock_timeout', limits.own, true);
            perform pg_notify('sidecar_watches', '');
            perform sidecar_internal.report_remains(w);
            return;
        exception when lock_not_available then
            null; -- The try is undone, and the user's table is unlocked.
        end;
    end loop;
    perform sidecar_internal.raise_in_use(w.relation, w.companion, w.id, limits.own, limits.began);
end $$;
comment on function sidecar.unwatch is
    'Ends a watch. The vectors stay, and watching again embeds only what has changed since; drop_target => true drops the vectors '
    'too. target may be omitted where the table has one watch.';

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
        raise exception 'table % is no longer watched', relation using errcode = 'undefined_object',
            hint = 'Another session has just ended the watch.';
    end if;
    perform set_config('lock_timeout', limits.ours, true);
    perform sidecar_internal.release_tables(w, limits);
    perform sidecar_internal.revoke_table(w);
    -- The OID of a companion that was dropped before a dump may belong to another table after the restore.
    if drop_target and exists (select from pg_class c where c.oid = coalesce(w.companion, w.relation))
            and (w.companion is null or sidecar_internal.storage_of(w.companion, w.target) is not null) then
        perform sidecar_internal.drop_target(w, limits);
    end if;
    perform sidecar_internal.drop_queue(w.id, keep_ledger => is_there and not drop_target);
    if is_there and not drop_target then
        update sidecar_internal.watches x set unwatched_at = now(), paused = false, broken = null where x.id = w.id;
    else
        delete from sidecar_internal.watches x where x.id = w.id;
    end if;
end $$;
