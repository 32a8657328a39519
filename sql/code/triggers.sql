-- The triggers of a watch, and their functions: a user's statement appends events.
--
-- Per-watch objects are made with format(): %I, and %s of names that Postgres itself quoted (regclass, format_type).

-- Marks a watch as broken, once per code. Called inside triggers: must not raise. It warns only when it records, because a
-- warning for each of a million rows helps nobody.
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

-- Whether the watch of a queue is there and active. A schema that was restored without its rows has triggers and queues of
-- watches that nobody knows: they do nothing. Asked by the first event of a queue only: asleep_N has been set from then on
-- (pg_sequence_last_value is NULL before), which costs a trigger 0.2 us to see.
create or replace function sidecar_internal.activate_queue(watch_id integer) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from sidecar_internal.watches w where w.id = watch_id and w.unwatched_at is null) then
        return false;
    end if;
    perform setval(format('sidecar_internal.asleep_%s', watch_id), 1);
    return true;
end $$;

-- A generation above all that the queue of one watch holds. Called where an event met another with its generation, because
-- the sequence lags behind restored data. Sequences are no part of a transaction, so all sessions go on from here.
create or replace function sidecar_internal.free_generation(watch_id integer) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    used bigint;
begin
    select greatest(sidecar_internal.highest_generation(format('sidecar_internal.events_%s', watch_id)),
                    sidecar_internal.highest_generation(format('sidecar_internal.delayed_%s', watch_id)), max(w.truncated_gen))
        into used from sidecar_internal.watches w;
    -- A margin, because others draw from the sequence between our look at it and setval.
    perform setval('sidecar_internal.generation', used + 100000) from sidecar_internal.generation s where s.last_value <= used;
    return nextval('sidecar_internal.generation');
end $$;

-- Wakes the sidecars that sleep. A NOTIFY makes its commit take a lock that the whole cluster shares: 16 clients inserted
-- 3,200 rows/s with it and 12,800 without. So it is sent only where somebody waits for it (asleep_N), and at most once in
-- 5 ms: who is suppressed has just been notified for, or is found by a poll. Where transactions may be prepared there is
-- none, because PREPARE TRANSACTION fails after it; nor while a listener that hangs has filled half of the queue of
-- notifications, because COMMIT fails when it is full. All of it is read outside of snapshots: what every user's statement
-- reads must not leave versions behind, which an old snapshot would keep.
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

-- The same, if a sidecar that would fetch from this watch sleeps. For all but the triggers of a watch, which name asleep_N.
create or replace function sidecar_internal.wake_sleepers(watch_id integer) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if to_timestamp(pg_sequence_last_value(format('sidecar_internal.asleep_%s', watch_id)::regclass) / 1000.0::float8) > clock_timestamp() then
        perform sidecar_internal.notify_sleepers();
    end if;
end $$;

-- The trigger functions of one watch. They run with the rights of the installer and must not fail the user's statement, for
-- instance because a key column was renamed. So they first name what they need in a block that catches errors and writes
-- nothing: a block that writes would cost a subtransaction id for every statement and every row. nextval is part of it: it
-- takes no such id. The insert itself has nothing left to fail at: no CHECK, and ON CONFLICT for a sequence that lags behind
-- restored data. Keys are compared by their images, and stored only in the type of the queue: nothing is looked up here
-- that a user could define. A body is a literal, %L: a column may be called `$f$`, and whatever follows the end of a dollar
-- quote would be run with the rights of whoever watches or migrates.
-- Costs 6 to 7 us for a row of a bulk insert (1.5 of it ON CONFLICT; two CHECKs had cost 3). Statement triggers cost 2 us,
-- but their transition tables hold whole rows, pictures too, and write them to temporary files beyond work_mem.
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
                    raise datatype_mismatch using message = 'a key column has got another type';
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
            if tg_op <> 'INSERT' then -- Nothing is computed for an INSERT that it has no use for.
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

    -- TRUNCATE; and INSERT and DELETE of the triggers of 0016, where they could not be replaced yet.
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
                        perform sidecar_internal.report_breakage(%1$s, '42804', 'a key column has got another type');
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

-- Whether an UPDATE may change what we watch without naming it: a BEFORE ROW trigger can, and a generated column always
-- does. UPDATE OF would miss both.
create or replace function sidecar_internal.changes_unnamed(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from sidecar_internal.tree_of(w.relation) h
                   cross join lateral (select t.* from pg_trigger t where t.tgrelid = h.home offset 0) t  -- by index, each table
                   where not t.tgisinternal and t.tgtype & 1 = 1 and t.tgtype & 2 = 2 and t.tgtype & 16 = 16)
        or exists (select from pg_attribute a
                   where a.attrelid = w.relation and a.attname = any (w.source || w.key_columns) and a.attgenerated <> '');
$$;

-- Whether logical replication writes to the table, a partition of it, or through the tree it is part of: triggers fire
-- then only if they are ENABLE ALWAYS.
create or replace function sidecar_internal.is_subscribed(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_subscription_rel s where s.srrelid in (
        select t.home from sidecar_internal.tree_of(is_subscribed.relation) t
        union all select a.relid from pg_partition_ancestors(is_subscribed.relation) a));
$$;

-- The columns that the generated ones among `columns` are computed from. In PL/pgSQL, which keeps its plans, and without the
-- join where no column is generated: status asks twice for every watch (300 watches: 249 -> 9 ms).
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

-- The WHEN of a trigger: whether one of these columns differs between `old` and `new`. It is computed with the rights of the
-- user and fails his statement if it fails, so nothing in it can: no cast, no operator of a user's type, no virtual column
-- (its inputs stand for it), no function that somebody may lack the right to call. Text and bytea have operators that look at
-- the lengths first; keys, and whatever else, are compared by their image. A difference that is none costs one look at the row.
-- `false and ...` is never computed: it has the trigger know the virtual column, so that a rename of it can be followed.
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

-- One of a watch's triggers. `event`: 'after update of title'; `manner`: 'for each row when (...)'; `call`: 'row()'.
create or replace function sidecar_internal.create_trigger(w sidecar_internal.watches, suffix text, event text, home regclass, manner text, call text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('create or replace trigger sidecar_%1$s_%2$s after %3$s on %4$s %5$s execute function sidecar_internal.enqueue_%1$s_%6$s',
                   w.id, suffix, event, home, manner, call);
    if sidecar_internal.is_subscribed(home) then
        execute format('alter table %3$s enable always trigger sidecar_%1$s_%2$s', w.id, suffix, home);
    end if;
end $$;

-- Row triggers everywhere: transition tables would hold whole rows with their pictures, miss rows that come in through a
-- partition tree or by logical replication, and cannot be had with a column list. UPDATE fires only where source or key differ.
-- Text is compared as bytes: 'A' and 'a' have different vectors, whatever the collation says. Operators are looked up here,
-- once, in pg_catalog. Takes SHARE ROW EXCLUSIVE on the table, and replaces the triggers that are there.
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
    -- Somebody else wrote the vector: an ORM that saves whole rows puts an old one back. `force`: never skipped.
    perform sidecar_internal.create_trigger(w, 'target',
        'update' || case when unnamed and w.companion is null then '' else format(' of %I', w.target) end,
        coalesce(w.companion, w.relation),
        format('for each row when (current_setting(''sidecar.writer'', true) is distinct from ''on'' and (%s))',
               sidecar_internal.difference(coalesce(w.companion, w.relation), '{}', array[w.target])), 'row(''force'')');
end $$;

-- Replaces triggers of 0016 by today's, under a lock on the user's table that lets readers through. Nothing else needs to stand
-- still: the old ones enqueue until then. The CHECKs of a queue, which cost each row 3 us, go with them. False: nothing to do.
create or replace function sidecar.renew_triggers(watch_id integer) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches;
    old record;
begin
    select * into w from sidecar_internal.watches x where x.id = watch_id and x.unwatched_at is null for share;
    if not found or not sidecar_internal.has_old_triggers(w) or sidecar_internal.structure_fault(w) is not null then
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
    'Replaces the triggers that an older version created for a watch by those of this version. Takes the number of the watch; '
    'returns false if there was nothing to do. `sidecar migrate` calls it and prints the call where a table was in use.';

create or replace function sidecar_internal.has_old_triggers(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from sidecar_internal.triggers_of(w) t
                   where not t.compares_safely or (t.name ~ '_(insert|delete)$' and not t.for_row))
        or exists (select from pg_trigger t where t.tgrelid = w.companion and t.tgname = format('sidecar_%s_row_deleted', w.id)
                   and t.tgtype & 1 = 0)
        or (w.companion is not null and not sidecar_internal.sees_truncate(w));
$$;

-- Those that stand on the watched table and its companion. `fires`: a user may have disabled one. `compares_safely`: not one
-- of 0016, whose WHEN may fail the user's statement.
create or replace function sidecar_internal.triggers_of(w sidecar_internal.watches, out name name, out home regclass, out for_row boolean,
                                    out names_columns boolean, out fires boolean, out compares_safely boolean)
returns setof record language sql stable set search_path = pg_catalog, pg_temp as $$
    select t.tgname, t.tgrelid::regclass, t.tgtype & 1 = 1, t.tgattr <> ''::int2vector,
           t.tgenabled = 'A' or (t.tgenabled = 'O' and (not exists (select from pg_subscription_rel) or not sidecar_internal.is_subscribed(t.tgrelid))),
           t.tgqual is null or t.tgqual::text like format('%%:funcid %s %%', 'record_image_ne(record,record)'::regprocedure::oid)
        from pg_trigger t
        where t.tgrelid in (w.relation, w.companion)
          -- sidecar_1_insert, not sidecar_1_row_deleted; a regular expression would be compiled anew for each watch.
          and starts_with(t.tgname, 'sidecar_') and split_part(t.tgname, '_', 2) = w.id::text
          and split_part(t.tgname, '_', 3) <> '' and split_part(t.tgname, '_', 4) = '';
$$;

create or replace function sidecar_internal.drop_triggers(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    t record;
begin
    for t in select * from sidecar_internal.triggers_of(w) loop
        execute format('drop trigger %I on %s', t.name, t.home);
    end loop;
end $$;

-- Whether all triggers stand and fire, in today's shape and in that which the table needs now: it may have got a BEFORE trigger
-- since, or been inherited from.
create or replace function sidecar_internal.triggers_fit(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select count(*) = 5 and bool_and(
        t.compares_safely
        and case when t.name like '%\_update' then t.names_columns <> sidecar_internal.changes_unnamed(w)
                 when t.name ~ '_(insert|delete)$' then t.for_row else true end)
        and not sidecar_internal.partition_lacks_trigger(w) and not sidecar_internal.inherits(w.relation)
        from sidecar_internal.triggers_of(w) t where t.fires;
$$;

-- Whether a partition has lost a copy of the root's triggers, or somebody disabled it there.
create or replace function sidecar_internal.partition_lacks_trigger(w sidecar_internal.watches) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from pg_class c where c.oid in (w.relation, w.companion) and c.relkind = 'p') then
        return false;
    end if;
    return exists (
        select from sidecar_internal.triggers_of(w) t
        join pg_trigger root on root.tgrelid = t.home and root.tgname = t.name
        cross join lateral sidecar_internal.tree_of(t.home) p
        -- By index, partition by partition: a join would read the triggers of all tables.
        left join lateral (select c.tgenabled from pg_trigger c where c.tgrelid = p.home and c.tgname = t.name offset 0) copy on true
        where t.for_row and p.level > 0 and copy.tgenabled is distinct from root.tgenabled);
end $$;

-- Removes triggers of watches that are not on this table. A restore of a user's schema brings them along.
create or replace function sidecar_internal.drop_foreign_triggers(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    stray record;
begin
    for stray in select t.tgname, t.tgrelid::regclass as home from pg_trigger t join pg_proc p on p.oid = t.tgfoid
                 where t.tgrelid in (w.relation, w.companion) and t.tgparentid = 0
                   and p.pronamespace = 'sidecar_internal'::regnamespace
                   and not exists (select from sidecar_internal.watches x cross join sidecar_internal.triggers_of(x) own
                                   where x.unwatched_at is null and own.home = t.tgrelid and own.name = t.tgname) loop
        execute format('drop trigger %I on %s', stray.tgname, stray.home);
    end loop;
end $$;
