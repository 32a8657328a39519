-- The triggers of a watch on users' tables. Their statements are made with format(): %I, and %s for names that Postgres itself
-- quoted (regclass, format_type). The triggers call enqueue_N_row and enqueue_N_statement, which create_trigger_functions in
-- trigger_functions.sql makes for each watch.

-- True if an UPDATE may change what we watch without naming it: a BEFORE ROW trigger can, and a generated column always does.
-- UPDATE OF would miss both.
create or replace function sidecar_internal.changes_unnamed(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from sidecar_internal.tree_of(w.relation) h
                   cross join lateral (select t.* from pg_trigger t where t.tgrelid = h.home offset 0) t  -- by index, each table
                   where not t.tgisinternal and t.tgtype & 1 = 1 and t.tgtype & 2 = 2 and t.tgtype & 16 = 16)
        or exists (select from pg_attribute a
                   where a.attrelid = w.relation and a.attname = any (w.source || w.key_columns) and a.attgenerated <> '');
$$;

-- True if logical replication writes to the table, a partition of it, or through the tree it is part of: triggers then fire
-- only if they are ENABLE ALWAYS.
create or replace function sidecar_internal.is_subscribed(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_subscription_rel s where s.srrelid in (
        select t.home from sidecar_internal.tree_of(is_subscribed.relation) t
        union all select a.relid from pg_partition_ancestors(is_subscribed.relation) a));
$$;

-- The columns that the generated ones among `columns` are computed from. In PL/pgSQL, which caches its plans, and without the
-- join if no column is generated: status calls it twice for every watch (300 watches: 249 -> 9 ms).
create or replace function sidecar_internal.generation_inputs(relation regclass, columns text[]) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from pg_attribute g where g.attrelid = generation_inputs.relation and g.attname = any (generation_inputs.columns)
                   and g.attgenerated <> '') then
        return '{}';
    end if;
    return (select coalesce(array_agg(distinct i.attname::text), '{}')
        from pg_attribute g
        join pg_attrdef f on f.adrelid = g.attrelid and f.adnum = g.attnum
        join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
                        and d.refclassid = 'pg_class'::regclass and d.refobjid = g.attrelid and d.refobjsubid not in (0, g.attnum)
        join pg_attribute i on i.attrelid = g.attrelid and i.attnum = d.refobjsubid
        where g.attrelid = generation_inputs.relation and g.attname = any (generation_inputs.columns) and g.attgenerated <> '');
end $$;

-- The WHEN condition of a trigger: one of these columns differs between `old` and `new`. It is evaluated with the rights of the
-- user and would fail their statement, so it contains nothing that can fail: no cast, no operator of a user's type, no virtual
-- column (its inputs are compared instead), no function that a role may lack the right to call. Text and bytea have operators
-- that compare lengths first; keys and other types are compared by their binary image. A false difference costs one look at the
-- row. `false and ...` is never evaluated: it makes the trigger depend on the virtual column, so that a rename of it can be
-- followed.
create or replace function sidecar_internal.difference(relation regclass, keys text[], columns text[]) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with wanted as (
        select a.attname, a.attgenerated::text = 'v' as is_virtual,
               b.type in ('bytea'::regtype, 'text'::regtype, 'varchar'::regtype) and a.attname <> all (keys) as by_operator, b.type
            from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
            where a.attrelid = difference.relation and a.attnum > 0 and not a.attisdropped
              and a.attname = any (keys || difference.columns || sidecar_internal.generation_inputs(difference.relation, array(
                  select v.attname from pg_attribute v where v.attrelid = difference.relation
                  and v.attname = any (difference.columns) and v.attgenerated::text = 'v')))
    ), by_operator(expression) as (
        select format(case when w.type = 'bytea'::regtype then 'old.%1$I is distinct from new.%1$I'
                           else 'old.%1$I collate "C" is distinct from new.%1$I collate "C"' end, w.attname)
            from wanted w where w.by_operator and not w.is_virtual
    ), by_image(expression) as (
        select format('record_image_ne(row(%s), row(%s))', string_agg(format('old.%I', w.attname), ', '),
                      string_agg(format('new.%I', w.attname), ', '))
            from wanted w where not w.by_operator and not w.is_virtual
            having count(*) > 0
    ), not_computed(expression) as (
        select format('(false and old.%I is null)', w.attname) from wanted w where w.is_virtual
    )
    select string_agg(e.expression, ' or ')
        from (select * from by_image union all select * from by_operator union all select * from not_computed) e(expression);
$$;

-- Creates or replaces one trigger of a watch. `event`: 'after update of title'; `manner`: 'for each row when (...)'; `call`:
-- 'row()'.
create or replace function sidecar_internal.create_trigger(w sidecar_internal.watches, suffix text, event text, relation regclass, manner text, call text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('create or replace trigger sidecar_%1$s_%2$s after %3$s on %4$s %5$s execute function sidecar_internal.enqueue_%1$s_%6$s',
                   w.id, suffix, event, relation, manner, call);
    if sidecar_internal.is_subscribed(relation) then
        execute format('alter table %3$s enable always trigger sidecar_%1$s_%2$s', w.id, suffix, relation);
    end if;
end $$;

-- Creates or replaces all triggers of a watch. They are row triggers: transition tables would hold whole rows with their
-- pictures, miss rows that arrive through a partition tree or by logical replication, and cannot be combined with a column
-- list. UPDATE fires only if source or key differ. Text is compared as bytes: 'A' and 'a' have different vectors, whatever the
-- collation says. Operators are looked up here, once, in pg_catalog. Locks the table SHARE ROW EXCLUSIVE.
create or replace function sidecar_internal.create_triggers(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    unnamed boolean := sidecar_internal.changes_unnamed(w);
    of_columns text := (select string_agg(quote_ident(u.c), ', ') from (select distinct unnest(w.source || w.key_columns)) as u(c));
begin
    perform sidecar_internal.create_trigger(w, 'insert', 'insert', w.relation, 'for each row', 'row()');
    perform sidecar_internal.create_trigger(w, 'delete', 'delete', w.relation, 'for each row', 'row()');
    perform sidecar_internal.create_trigger(w, 'update', 'update' || case when unnamed then '' else ' of ' || of_columns end, w.relation,
                                   format('for each row when (%s)', sidecar_internal.difference(w.relation, w.key_columns, w.source)), 'row()');
    perform sidecar_internal.create_trigger(w, 'truncate', 'truncate', w.relation, 'for each statement', 'statement()');
    -- The vector was written by something other than a sidecar: an ORM that saves whole rows restores an old one. `force`: never skipped.
    perform sidecar_internal.create_trigger(w, 'target',
        'update' || case when unnamed and w.companion is null then '' else format(' of %I', w.target) end,
        coalesce(w.companion, w.relation),
        format('for each row when (current_setting(''sidecar.writer'', true) is distinct from ''on'' and (%s))',
               sidecar_internal.difference(coalesce(w.companion, w.relation), '{}', array[w.target])), 'row(''force'')');
end $$;

-- Replaces triggers of 0016 by today's, under a SHARE ROW EXCLUSIVE lock on the user's table, which readers do not notice.
-- Nothing else has to stop: the old ones enqueue until then. The CHECKs of a queue, which cost 3 us per row, are dropped with
-- them. Returns false if there is nothing to do.
create or replace function sidecar.renew_triggers(watch_id integer) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches;
    old record;
begin
    select * into w from sidecar_internal.watches x where x.id = watch_id and x.unwatched_at is null for share;
    if not found or not sidecar_internal.has_old_triggers(w) or sidecar_internal.structure_fault_v2(w) is not null then
        return false;
    end if;
    perform sidecar_internal.create_triggers(w);
    if w.companion is not null then
        perform sidecar_internal.create_deletion_trigger(w);
    end if;
    for old in select c.conname, c.conrelid::regclass as queue from pg_constraint c
               where c.conrelid = to_regclass(format('sidecar_internal.events_%s', w.id)) and c.contype = 'c' loop
        execute format('alter table %s drop constraint %I', old.queue, old.conname);
    end loop;
    return true;
end $$;
comment on function sidecar.renew_triggers is
    'Replaces the triggers that an older version created for a watch with those of this version. Takes the number of the watch; '
    'returns false if there was nothing to do. `sidecar migrate` calls it and prints the call where a table was in use.';

-- True if a trigger of the watch has the shape of 0016, or one of today's is missing on the companion.
create or replace function sidecar_internal.has_old_triggers(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from sidecar_internal.triggers_of(w) t
                   where not t.compares_safely or (t.name ~ '_(insert|delete)$' and not t.for_row))
        or exists (select from pg_trigger t where t.tgrelid = w.companion and t.tgname = format('sidecar_%s_row_deleted', w.id)
                   and t.tgtype & 1 = 0)
        or (w.companion is not null and not sidecar_internal.sees_truncate(w));
$$;

-- The triggers on the watched table and its companion. `fires` is false for one that a user disabled. `compares_safely` is
-- false for one of 0016, whose WHEN may fail the user's statement.
create or replace function sidecar_internal.triggers_of(w sidecar_internal.watches, out name name, out relation regclass, out for_row boolean,
                                    out names_columns boolean, out fires boolean, out compares_safely boolean)
returns setof record language sql stable set search_path = pg_catalog, pg_temp as $$
    select t.tgname, t.tgrelid::regclass, t.tgtype & 1 = 1, t.tgattr <> ''::int2vector,
           t.tgenabled = 'A' or (t.tgenabled = 'O' and (not exists (select from pg_subscription_rel) or not sidecar_internal.is_subscribed(t.tgrelid))),
           t.tgqual is null or t.tgqual::text like format('%%:funcid %s %%', 'record_image_ne(record,record)'::regprocedure::oid)
        from pg_trigger t
        where t.tgrelid in (w.relation, w.companion)
          -- sidecar_1_insert, not sidecar_1_row_deleted; a regular expression would be compiled again for each watch.
          and starts_with(t.tgname, 'sidecar_') and split_part(t.tgname, '_', 2) = w.id::text
          and split_part(t.tgname, '_', 3) <> '' and split_part(t.tgname, '_', 4) = '';
$$;

-- Drops all triggers of a watch.
create or replace function sidecar_internal.drop_triggers(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    t record;
begin
    for t in select * from sidecar_internal.triggers_of(w) loop
        execute format('drop trigger %I on %s', t.name, t.relation);
    end loop;
end $$;

-- True if all triggers exist and fire, in today's shape and the one that the table needs now: it may have got a BEFORE trigger
-- since, or a child by inheritance.
create or replace function sidecar_internal.triggers_fit(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select count(*) = 5 and bool_and(
        t.compares_safely
        and case when t.name like '%\_update' then t.names_columns <> sidecar_internal.changes_unnamed(w)
                 when t.name ~ '_(insert|delete)$' then t.for_row else true end)
        and not sidecar_internal.partition_lacks_trigger(w) and not sidecar_internal.inherits(w.relation)
        from sidecar_internal.triggers_of(w) t where t.fires;
$$;

-- True if a partition has lost a copy of the root's triggers, or has it disabled.
create or replace function sidecar_internal.partition_lacks_trigger(w sidecar_internal.watches) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from pg_class c where c.oid in (w.relation, w.companion) and c.relkind = 'p') then
        return false;
    end if;
    return exists (
        select from sidecar_internal.triggers_of(w) t
        join pg_trigger root on root.tgrelid = t.relation and root.tgname = t.name
        cross join lateral sidecar_internal.tree_of(t.relation) p
        -- By index, partition by partition: a join would read the triggers of all tables.
        left join lateral (select c.tgenabled from pg_trigger c where c.tgrelid = p.home and c.tgname = t.name offset 0) copy on true
        where t.for_row and p.level > 0 and copy.tgenabled is distinct from root.tgenabled);
end $$;

-- Drops triggers of other watches from this table. A restore of a user's schema brings them along.
create or replace function sidecar_internal.drop_foreign_triggers(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    foreign_trigger record;
begin
    for foreign_trigger in select t.tgname, t.tgrelid::regclass as relation from pg_trigger t join pg_proc p on p.oid = t.tgfoid
                 where t.tgrelid in (w.relation, w.companion) and t.tgparentid = 0
                   and p.pronamespace = 'sidecar_internal'::regnamespace
                   and not exists (select from sidecar_internal.watches x cross join sidecar_internal.triggers_of(x) own
                                   where x.unwatched_at is null and own.relation = t.tgrelid and own.name = t.tgname) loop
        execute format('drop trigger %I on %s', foreign_trigger.tgname, foreign_trigger.relation);
    end loop;
end $$;
