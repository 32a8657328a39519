-- Users' changes to a watched table: renamed columns are followed, dropped tables forgotten, everything else is a fault that
-- status shows.

-- The columns that a trigger of a watch names, by their present names. A trigger stores column numbers, so it follows a rename.
create or replace function sidecar_internal.columns_of_trigger(w sidecar_internal.watches, relation regclass, suffix text) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
    select array_agg(distinct a.attname::text)
        from pg_trigger t
        join pg_depend d on d.classid = 'pg_trigger'::regclass and d.objid = t.oid
                        and d.refclassid = 'pg_class'::regclass and d.refobjid = t.tgrelid and d.refobjsubid > 0
        join pg_attribute a on a.attrelid = t.tgrelid and a.attnum = d.refobjsubid
        where t.tgrelid = columns_of_trigger.relation and t.tgname = format('sidecar_%s_%s', w.id, suffix);
$$;

-- The watch with the present names of its source and target columns, as far as triggers and indexes show them.
create or replace function sidecar_internal.with_present_names(w sidecar_internal.watches) returns sidecar_internal.watches
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    named text[] := sidecar_internal.columns_of_trigger(w, w.relation, 'update');
    target_named text[] := sidecar_internal.columns_of_trigger(w, coalesce(w.companion, w.relation), 'target');
    lost text[] := array(select distinct c from unnest(w.source) c where c <> all (named));
    -- The trigger also depends on the inputs of a virtual column.
    found text[] := array(select c from unnest(named) c
                          where c <> all (w.source || w.key_columns || sidecar_internal.generation_inputs(w.relation, named)));
begin
    if cardinality(lost) = 1 and cardinality(found) = 1 and not w.key_columns && lost and w.key_columns <@ named then
        w.source := array_replace(w.source, lost[1], found[1]);
    end if;
    if cardinality(target_named) = 1 then
        w.target := target_named[1];
    end if;
    return w;
end $$;

-- The same for sidecars of the version before `storage`, which write nothing but `vector`: a reason to leave other watches alone.
create or replace function sidecar_internal.structure_fault(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when w.storage <> 'vector' then format('its vectors are stored as %s, which takes a sidecar of a newer version', w.storage)
           else sidecar_internal.structure_fault_v2(w) end;
$$;

-- Why the watched table no longer fits the watch; NULL if it does. Names what changed: table, companion, triggers, key, source
-- or target.
create or replace function sidecar_internal.structure_fault_v2(w sidecar_internal.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    named text[];
    present sidecar_internal.watches;
    key record;
begin
    if not exists (select from pg_class c where c.oid = w.relation) then
        return 'the table is gone';
    elsif sidecar_internal.pgvector_fault() is not null then
        return sidecar_internal.pgvector_fault();
    elsif w.companion is not null and not exists (select from pg_class c where c.oid = w.companion) then
        return 'the companion table is gone';
    elsif not exists (select from pg_trigger t where t.tgrelid = w.relation and starts_with(t.tgname, format('sidecar_%s_', w.id))) then
        return 'its triggers are gone';
    end if;
    key := sidecar_internal.primary_key_of(w.relation);
    if (key.columns, key.types) is distinct from (w.key_columns, w.key_types) then
        return format('the primary key was (%s), now it is (%s)', sidecar_internal.for_each_key(w.key_columns, w.key_types, '%2$s %3$s'),
                      sidecar_internal.for_each_key(key.columns, key.types, '%2$s %3$s'));
    end if;
    if sidecar_internal.key_fault(w) is not null then
        return sidecar_internal.key_fault(w);
    end if;
    perform sidecar_internal.kind_of_source(w.relation, w.source, w.kind);
    present := sidecar_internal.with_present_names(w);
    named := sidecar_internal.columns_of_trigger(w, w.relation, 'update');
    if present.target <> w.target then
        return format('column %I is now called %I', w.target, present.target);
    elsif not w.source <@ named then
        return format('of the source columns (%s) the triggers know only (%s): they were renamed',
                      array_to_string(w.source, ', '), array_to_string(named, ', '));
    elsif not sidecar_internal.generation_inputs(w.relation, array(select a.attname::text from pg_attribute a where a.attrelid = w.relation
                                                  and a.attname = any (w.source) and a.attgenerated::text = 'v')) <@ named then
        return format('the source (%s) is computed from columns that the triggers do not know: its expression was changed',
                      array_to_string(w.source, ', '));
    elsif not exists (select from pg_attribute a where a.attrelid = coalesce(w.companion, w.relation) and a.attname = w.target
                      and not a.attisdropped and a.attgenerated = '' and a.atttypmod in (w.dimensions, -1)
                      and sidecar_internal.storage_of(a.attrelid, a.attname) = w.storage) then
        return format('%s has no column %I of type %s(%s)', coalesce(w.companion, w.relation), w.target, w.storage, w.dimensions);
    end if;
    return null;
-- Raised by primary_key_of and kind_of_source: no key any more, no such column, a column of another type.
exception when invalid_table_definition or undefined_column or datatype_mismatch then
    return sqlerrm;
end $$;

-- Removes all that is left of a watch whose table was dropped. Returns false if something is locked or belongs to another role.
create or replace function sidecar_internal.forget_watch(watch_id integer) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '250ms' as $$
declare
    w sidecar_internal.watches;
begin
    select * into w from sidecar_internal.watches x where x.id = forget_watch.watch_id for update skip locked;
    if not found then
        return false;
    end if;
    begin
        perform sidecar_internal.release_companion(w);
    exception when insufficient_privilege then
        null; -- Another role's table: its trigger does nothing from now on.
    end;
    perform sidecar_internal.drop_queue(watch_id, keep_ledger => false);
    delete from sidecar_internal.watches x where x.id = forget_watch.watch_id;
    return true;
exception when lock_not_available or deadlock_detected or insufficient_privilege then
    return false;
end $$;

-- Stores the present column names in the watch. Returns false if something is locked; it is tried again later.
create or replace function sidecar_internal.apply_renames(w sidecar_internal.watches, present sidecar_internal.watches) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '250ms' as $$
begin
    -- A former watch of the column that had this name: its ledger describes vectors that are gone.
    perform sidecar_internal.forget_watch(x.id) from sidecar_internal.watches x
        where x.relation = w.relation and x.target = present.target and x.id <> w.id and x.unwatched_at is not null;
    update sidecar_internal.watches x set source = present.source, target = present.target
        where x.id = w.id and (x.source, x.target) = (w.source, w.target);
    return found;
exception when lock_not_available or deadlock_detected or unique_violation then
    return false;
end $$;

-- Brings `watches` up to date with users' changes: stores renamed columns, forgets watches whose table was dropped. Returns one
-- line for each change; what is locked is left for the next call. Running sidecars call it, whose role owns nothing here, so it
-- runs as the installer.
create or replace function sidecar_internal.follow_changes(only_relation regclass default null, new_target text default null) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches;
    present sidecar_internal.watches;
    done text;
begin
    for w in select x.* from sidecar_internal.watches x left join pg_class c on c.oid = x.relation
             where c.oid is null or ((only_relation is null or x.relation = only_relation) and x.unwatched_at is null) loop
        present := sidecar_internal.with_present_names(w);
        done := null;
        if not exists (select from pg_class c where c.oid = w.relation) then
            done := case when sidecar_internal.forget_watch(w.id)
                    then format('watch %s on %s is forgotten: its table was dropped', w.id, w.target) end;
        elsif (present.source, present.target) is distinct from (w.source, w.target) then
            done := case when sidecar_internal.apply_renames(w, present) then format('watch %s follows renamed columns of %s: %s -> %s is now %s -> %s',
                         w.id, w.relation, w.source, w.target, present.source, present.target) end;
        end if;
        if done is not null then
            perform pg_notify('sidecar_watches', '');
            return next done;
        end if;
    end loop;
    perform sidecar_internal.rename_former_target(only_relation, new_target);
end $$;

-- Stores the new name of a target that was renamed after unwatch, when no trigger shows it. The table's only former watch whose
-- column is gone is taken to be that of `new_target`. A wrong guess does no harm: a ledger entry counts only if content and
-- vector match it.
create or replace function sidecar_internal.rename_former_target(relation regclass, new_target text) returns void
language sql set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
    with unmatched as (
        select w.id, coalesce(w.companion, w.relation) as vector_table from sidecar_internal.watches w
        where w.relation = rename_former_target.relation and w.unwatched_at is not null
          and not exists (select from pg_attribute a where a.attrelid = coalesce(w.companion, w.relation)
                          and a.attname = w.target and not a.attisdropped)
    )
    update sidecar_internal.watches w set target = new_target from unmatched o
    where w.id = o.id and (select count(*) from unmatched) = 1
      and exists (select from pg_attribute a where a.attrelid = o.vector_table and a.attname = new_target and not a.attisdropped)
      and not exists (select from sidecar_internal.watches x where coalesce(x.companion, x.relation) = o.vector_table and x.target = new_target);
$$;
