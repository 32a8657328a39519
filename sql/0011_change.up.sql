-- What users change under a watch: renames, drops, restores; verify and uninstall.

-- `verify` compares contents and vectors with the ledger. It tells how far it is, and when its next page is due: all
-- sidecars together keep to the bytes per second.
alter table sidecar.scans drop constraint scans_purpose_check;
alter table sidecar.scans add constraint scans_purpose_check check (purpose in ('clear', 'backfill', 'sweep', 'verify'));
alter table sidecar.scans add column rows_seen bigint not null default 0,
                          add column bytes_seen bigint not null default 0,
                          add column found bigint not null default 0,
                          add column next_page_at timestamptz not null default '-infinity';

-- Starts a scan from the first key, whatever became of an earlier one.
create or replace function sidecar.start_scan(watch_id integer, purpose text, force boolean default false) returns void
language sql set search_path = pg_catalog, pg_temp as $$
    insert into sidecar.scans (watch_id, purpose, force) values (watch_id, purpose, force)
    on conflict (watch_id, purpose) do update
        set last_key = null, force = excluded.force or (scans.force and scans.finished_at is null),
            started_at = now(), finished_at = null, rows_seen = 0, bytes_seen = 0, found = 0, next_page_at = '-infinity';
$$;

-- Has a sidecar compare every row with what the ledger says of it, and enqueue what differs: contents changed with the
-- triggers off, vectors overwritten, entries missing. Progress and number found stand in sidecar.scans.
create function sidecar.verify(relation regclass, target text default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches := sidecar.need_watch(relation, target);
begin
    perform sidecar.start_scan(w.id, 'verify');
    perform pg_notify('sidecar_watches', '');
end $$;

-- The columns that a trigger of a watch names, by their present names. It keeps their numbers, so it follows a rename.
create function sidecar.columns_of_trigger(w sidecar.watches, home regclass, suffix text) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
    select array_agg(distinct a.attname::text)
        from pg_trigger t
        join pg_depend d on d.classid = 'pg_trigger'::regclass and d.objid = t.oid
                        and d.refclassid = 'pg_class'::regclass and d.refobjid = t.tgrelid and d.refobjsubid > 0
        join pg_attribute a on a.attrelid = t.tgrelid and a.attnum = d.refobjsubid
        where t.tgrelid = home and t.tgname = format('sidecar_%s_%s', w.id, suffix);
$$;

-- The watch with the names that its target and its source have now, where one source column was renamed at most. A renamed
-- key is another matter: the trigger functions name it.
create function sidecar.with_present_names(w sidecar.watches) returns sidecar.watches
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    named text[] := sidecar.columns_of_trigger(w, w.relation, 'update');
    target_named text[] := sidecar.columns_of_trigger(w, coalesce(w.companion, w.relation), 'target');
    lost text[] := array(select distinct c from unnest(w.source) c where c <> all (named));
    found text[] := array(select c from unnest(named) c where c <> all (w.source || w.key_columns));
begin
    if cardinality(lost) = 1 and cardinality(found) = 1 and not w.key_columns && lost and w.key_columns <@ named then
        w.source := array_replace(w.source, lost[1], found[1]);
    end if;
    if cardinality(target_named) = 1 then
        w.target := target_named[1];
    end if;
    return w;
end $$;

-- Why the sidecar's statements would fail on a watch, or hit something else than they mean; NULL if they would not. It
-- leaves such a watch alone. Without triggers, too: that is how a watch looks while it is being restored.
create function sidecar.structure_fault(w sidecar.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    named text[];
    present sidecar.watches;
    key record;
begin
    if not exists (select from pg_class c where c.oid = w.relation) then
        return 'the table is gone';
    elsif w.companion is not null and not exists (select from pg_class c where c.oid = w.companion) then
        return 'the companion table is gone';
    elsif not exists (select from sidecar.triggers_of(w) t where t.home = w.relation) then
        return 'its triggers are gone';
    end if;
    key := sidecar.primary_key_of(w.relation);
    if (key.columns, key.types) is distinct from (w.key_columns, w.key_types) then
        return format('the primary key was (%s), now it is (%s)', sidecar.for_each_key(w.key_columns, w.key_types, '%2$s %3$s'),
                      sidecar.for_each_key(key.columns, key.types, '%2$s %3$s'));
    end if;
    perform sidecar.kind_of_source(w.relation, w.source, w.kind);
    present := sidecar.with_present_names(w);
    named := sidecar.columns_of_trigger(w, w.relation, 'update');
    if present.target <> w.target then
        return format('column %I is now called %I', w.target, present.target);
    elsif not w.source <@ named then
        return format('of the source columns (%s) the triggers know only (%s): they were renamed',
                      array_to_string(w.source, ', '), array_to_string(named, ', '));
    elsif not exists (select from pg_attribute a where a.attrelid = coalesce(w.companion, w.relation) and a.attname = w.target
                      and not a.attisdropped and a.attgenerated = '' and a.atttypmod in (w.dimensions, -1)
                      and a.atttypid = format('%I.vector', sidecar.vector_schema())::regtype) then
        return format('%s has no column %I of type vector(%s)', coalesce(w.companion, w.relation), w.target, w.dimensions);
    end if;
    return null;
-- Raised by primary_key_of and kind_of_source: no key any more, no such column, a column of another type.
exception when invalid_table_definition or undefined_column or datatype_mismatch then
    return sqlerrm;
end $$;

-- Why the sidecar leaves a watch alone, or may miss changes; NULL where neither is so.
create or replace function sidecar.fault_of(w sidecar.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    fault text := sidecar.structure_fault(w);
begin
    if fault = 'the table is gone' then
        return format('%s: select sidecar.unwatch(%s, %L)', fault, w.relation::oid, w.target);
    elsif fault = 'the companion table is gone' then
        return fault || ': call sidecar.watch again with replace => true';
    elsif fault is not null then
        return fault || ': call sidecar.watch again' || case when w.source <@ array(
            select a.attname::text from pg_attribute a where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped)
            then '' else ' with the columns of now and replace => true' end;
    elsif exists (select from sidecar.breakages b where b.watch_id = w.id) then
        return (select string_agg(distinct b.message, '; ') || ': call sidecar.watch again'
                from sidecar.breakages b where b.watch_id = w.id);
    elsif w.broken is not null then
        return w.broken || ': call sidecar.watch again';
    elsif sidecar.inherits(w.relation) then
        return 'another table inherits from it, and its primary key does not cover that one: end the inheritance';
    elsif sidecar.partition_lacks_trigger(w) then
        return 'a partition lacks a trigger, or has it disabled: call sidecar.watch again';
    elsif not sidecar.triggers_fit(w) then
        return 'a trigger is missing, disabled or out of date: call sidecar.watch again';
    end if;
    return null;
end $$;

-- Whether a watch is in working order, and the table's key still what it was.
create or replace function sidecar.is_intact(w sidecar.watches, key_columns text[], key_types text[]) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select (w.key_columns, w.key_types) = (is_intact.key_columns, is_intact.key_types) and sidecar.structure_fault(w) is null
        and w.broken is null and not exists (select from sidecar.breakages b where b.watch_id = w.id) and sidecar.triggers_fit(w);
$$;

-- What is left of a watch when its triggers are gone. `keep_ledger`: watching the table again finds what it has done.
-- Ledger before events: the order in which sidecar.status reads them. CASCADE: a companion, or a copy of the table that was
-- restored without us, may still have triggers that call the functions.
create or replace function sidecar.drop_queue(watch_id integer, keep_ledger boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
begin
    if not keep_ledger then
        execute format('drop table if exists sidecar.ledger_%1$s, sidecar.former_%1$s', watch_id);
    end if;
    execute format('drop table if exists sidecar.events_%1$s, sidecar.delayed_%1$s', watch_id);
    execute format('drop function if exists sidecar.enqueue_%1$s_statement(), sidecar.enqueue_%1$s_row() cascade', watch_id);
    delete from sidecar.dead_letters d where d.watch_id = drop_queue.watch_id;
    delete from sidecar.scans s where s.watch_id = drop_queue.watch_id;
    delete from sidecar.breakages b where b.watch_id = drop_queue.watch_id;
end $$;

-- Removes all that is left of a watch whose table was dropped. False: somebody is in the way, or it belongs to another role.
create function sidecar.forget_watch(watch_id integer) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
begin
    select * into w from sidecar.watches x where x.id = forget_watch.watch_id for update skip locked;
    if not found then
        return false;
    end if;
    begin
        perform sidecar.release_companion(w);
    exception when insufficient_privilege then
        null; -- Another role's table: its trigger has nothing to do from now on.
    end;
    perform sidecar.drop_queue(watch_id, keep_ledger => false);
    delete from sidecar.watches x where x.id = forget_watch.watch_id;
    return true;
exception when lock_not_available or deadlock_detected or insufficient_privilege then
    return false;
end $$;

-- Writes the present names of its columns into a watch. False: not now.
create function sidecar.take_up_names(w sidecar.watches, present sidecar.watches) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- A former watch of the column that had this name before: the ledger is of vectors that are gone.
    perform sidecar.forget_watch(x.id) from sidecar.watches x
        where x.relation = w.relation and x.target = present.target and x.id <> w.id and x.unwatched_at is not null;
    update sidecar.watches x set source = present.source, target = present.target
        where x.id = w.id and (x.source, x.target) = (w.source, w.target);
    return found;
exception when lock_not_available or deadlock_detected or unique_violation then
    return false;
end $$;

-- Brings `watches` up to date with what users did to their tables: takes up new names of columns, forgets watches whose
-- table was dropped. Says what it did, a line each; what is locked is left for the next time. Called by running sidecars,
-- whose role owns nothing here.
create function sidecar.follow_changes(only_relation regclass default null, new_target text default null) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
    present sidecar.watches;
    done text;
begin
    for w in select x.* from sidecar.watches x left join pg_class c on c.oid = x.relation
             where c.oid is null or ((only_relation is null or x.relation = only_relation) and x.unwatched_at is null) loop
        present := sidecar.with_present_names(w);
        done := null;
        if not exists (select from pg_class c where c.oid = w.relation) then
            done := case when sidecar.forget_watch(w.id)
                    then format('watch %s on %s is forgotten: its table was dropped', w.id, w.target) end;
        elsif (present.source, present.target) is distinct from (w.source, w.target) then
            done := case when sidecar.take_up_names(w, present) then format('watch %s follows renamed columns of %s: %s → %s is now %s → %s',
                         w.id, w.relation, w.source, w.target, present.source, present.target) end;
        end if;
        if done is not null then
            perform pg_notify('sidecar_watches', '');
            return next done;
        end if;
    end loop;
    perform sidecar.rename_former_target(only_relation, new_target);
end $$;

-- After unwatch no trigger tells that a target was renamed. The only former watch of the table whose column is gone is taken
-- for that of `new_target`. A mistake does no harm: a ledger entry counts only where content and vector are what it says.
create function sidecar.rename_former_target(relation regclass, new_target text) returns void
language sql set search_path = pg_catalog, pg_temp as $$
    with orphan as (
        select w.id, coalesce(w.companion, w.relation) as home from sidecar.watches w
        where w.relation = rename_former_target.relation and w.unwatched_at is not null
          and not exists (select from pg_attribute a where a.attrelid = coalesce(w.companion, w.relation)
                          and a.attname = w.target and not a.attisdropped)
    )
    update sidecar.watches w set target = new_target from orphan o
    where w.id = o.id and (select count(*) from orphan) = 1
      and exists (select from pg_attribute a where a.attrelid = o.home and a.attname = new_target and not a.attisdropped)
      and not exists (select from sidecar.watches x where coalesce(x.companion, x.relation) = o.home and x.target = new_target);
$$;

-- Gives the ledger of a former watch the key's new types. False: some key cannot be converted, so the ledger is of no use.
create function sidecar.retype_ledger(watch_id integer, former_types text[], wanted_types text[]) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    ledger regclass := to_regclass(format('sidecar.ledger_%s', watch_id));
    definitions text[];
begin
    if former_types = wanted_types or ledger is null then
        return true;
    elsif cardinality(former_types) <> cardinality(wanted_types) then
        return false;
    end if;
    select p.definitions into definitions from sidecar.watches w cross join sidecar.primary_key_of(w.relation) p
        where w.id = retype_ledger.watch_id;
    execute format('alter table %s %s', ledger, (
        select string_agg(format('alter column k%1$s type %2$s using k%1$s::text::%3$s', i, definitions[i], wanted_types[i]), ', ')
        from generate_subscripts(wanted_types, 1) i));
    return true;
exception when data_exception or integrity_constraint_violation then
    return false;
end $$;

-- Removes triggers of watches that are not on this table. A restore of a user's schema brings them along.
create function sidecar.drop_stray_triggers(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    stray record;
begin
    for stray in select t.tgname, t.tgrelid::regclass as home from pg_trigger t join pg_proc p on p.oid = t.tgfoid
                 where t.tgrelid in (w.relation, w.companion) and t.tgparentid = 0
                   and p.pronamespace = 'sidecar'::regnamespace
                   and not exists (select from sidecar.watches x cross join sidecar.triggers_of(x) own
                                   where x.unwatched_at is null and own.home = t.tgrelid and own.name = t.tgname) loop
        execute format('drop trigger %I on %s', stray.tgname, stray.home);
    end loop;
end $$;

-- Takes off the tables that are still there what we put on them: triggers, and what belongs to a companion.
create or replace function sidecar.release_tables(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    home regclass;
begin
    for home in select t.home from sidecar.triggers_of(w) t group by t.home order by t.home = w.relation desc loop
        perform sidecar.lock_table(home, 'access exclusive');
    end loop;
    perform sidecar.drop_triggers(w);
    perform sidecar.release_companion(w);
end $$;

-- Ends a watch. Vectors and ledger stay, so that watching again does only what has changed, unless `drop_target`.
-- Works for a table that was dropped, too: select sidecar.unwatch(16384, 'photo_embedding'). `drop_target` also for a watch
-- that has ended.
create or replace function sidecar.unwatch(relation regclass, target text default null, drop_target boolean default false)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
    is_there boolean := exists (select from pg_class c where c.oid = unwatch.relation);
begin
    if is_there then
        perform sidecar.follow_changes(relation);
    end if;
    w := sidecar.find_watch(relation, target);
    if w.id is null or (w.unwatched_at is not null and not drop_target) then
        w := sidecar.need_watch(relation, target);
    end if;
    select * into w from sidecar.watches x where x.id = w.id and (x.unwatched_at is null or drop_target) for update;
    if not found then
        raise exception 'table % is not watched any longer', relation using errcode = 'undefined_object',
            hint = 'Another session has just ended the watch.';
    end if;
    perform sidecar.release_tables(w);
    perform sidecar.revoke_table(w);
    -- A companion that was dropped before a dump may have left its number to another table.
    if drop_target and exists (select from pg_class c where c.oid = coalesce(w.companion, w.relation))
            and (w.companion is null or exists (select from pg_attribute a where a.attrelid = w.companion and a.attname = w.target
                                                and a.atttypid = format('%I.vector', sidecar.vector_schema())::regtype)) then
        perform sidecar.drop_target(w);
    end if;
    perform sidecar.drop_queue(w.id, keep_ledger => is_there and not drop_target);
    if is_there and not drop_target then
        update sidecar.watches x set unwatched_at = now(), paused = false, broken = null where x.id = w.id;
    else
        delete from sidecar.watches x where x.id = w.id;
    end if;
    perform pg_notify('sidecar_watches', '');
end $$;

-- What users made out of our objects, and would lose with them: views, functions, columns and constraints of theirs.
create function sidecar.used_by_others() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with ours as (
        select 'pg_class'::regclass as class, c.oid as object from pg_class c where c.relnamespace = 'sidecar'::regnamespace
        union all select 'pg_proc'::regclass, p.oid from pg_proc p where p.pronamespace = 'sidecar'::regnamespace
        union all select 'pg_type'::regclass, t.oid from pg_type t where t.typnamespace = 'sidecar'::regnamespace
    ), dependent as (
        select coalesce(r.ev_class, a.adrelid, c.conrelid, case when d.classid = 'pg_class'::regclass then d.objid end)::regclass::text as relation,
               case when d.classid = 'pg_proc'::regclass then d.objid end::regprocedure::text as routine
            from pg_depend d
            join ours o on o.class = d.refclassid and o.object = d.refobjid
            left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
            left join pg_attrdef a on d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
            left join pg_constraint c on d.classid = 'pg_constraint'::regclass and c.oid = d.objid
            where d.deptype = 'n'
    )
    select string_agg(distinct coalesce(d.relation, d.routine), ', ') from dependent d
        where coalesce(d.relation, d.routine) !~ '^sidecar\.';
$$;

-- Removes schema sidecar and the triggers that call it. The vectors stay: columns, companion tables and their indexes.
create function sidecar.uninstall(force boolean default false) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
    running text := (select string_agg(format('%s (process %s)', s.host, s.pid), ', ') from sidecar.sidecars s
                     where s.seen_at > clock_timestamp() - interval '30 s');
    users text := sidecar.used_by_others();
    w sidecar.watches;
begin
    if running is not null and not force then
        raise exception 'a sidecar is running on this database: %', running using errcode = 'object_in_use',
            hint = 'Stop it first (one that was killed is forgotten after 30 s), or use force.';
    elsif users is not null then
        raise exception 'schema sidecar is used by %', users using errcode = 'dependent_objects_still_exist',
            hint = 'They would be dropped with it: drop or change them first.';
    end if;
    for w in select * from sidecar.watches x order by x.id for update loop
        perform sidecar.release_tables(w);
        perform sidecar.revoke_table(w);
    end loop;
    drop schema sidecar cascade;
end $$;

revoke all on function sidecar.verify(regclass, text), sidecar.columns_of_trigger(sidecar.watches, regclass, text),
    sidecar.with_present_names(sidecar.watches), sidecar.structure_fault(sidecar.watches), sidecar.forget_watch(integer),
    sidecar.take_up_names(sidecar.watches, sidecar.watches), sidecar.follow_changes(regclass, text),
    sidecar.rename_former_target(regclass, text), sidecar.retype_ledger(integer, text[], text[]),
    sidecar.drop_stray_triggers(sidecar.watches), sidecar.used_by_others(), sidecar.uninstall(boolean) from public;
