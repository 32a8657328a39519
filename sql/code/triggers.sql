-- The triggers of a watch, and their functions: a user's statement appends events.
--
-- Per-watch objects are made with format(): %I, and %s of names that Postgres itself quoted (regclass, format_type).

-- Marks a watch as broken, once per code. Called inside triggers: must not raise. It warns only when it records, because a
-- warning for each of a million rows helps nobody.
create or replace function sidecar.report_breakage(watch_id integer, code text, message text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from sidecar.breakages b
                   where b.watch_id = report_breakage.watch_id and b.code = report_breakage.code) then
        raise warning 'sidecar: watch % could not record a change (%): %', watch_id, code, message
            using hint = 'Rows may go without a fresh vector until sidecar.watch is called again: see sidecar.status.';
        insert into sidecar.breakages (watch_id, code, message) values (watch_id, code, message);
    end if;
exception when others then
    raise warning 'sidecar: watch % could not report its fault: %', watch_id, sqlerrm;
end $$;

-- Wakes the sidecars, if one sleeps. A NOTIFY makes its commit take a lock that the whole cluster shares: 16 clients
-- inserted 3,200 rows/s with it and 12,800 without, so it is sent only where somebody waits for it.
-- Without settings of its own, which would cost every row of an UPDATE 2 us: its callers pin search_path and rights.
create or replace function sidecar.wake_sleepers() returns void
language plpgsql as $$
begin
    if exists (select from sidecar.wake w where w.asleep_until operator(pg_catalog.>) pg_catalog.clock_timestamp()) then
        perform pg_catalog.pg_notify('sidecar', '');
    end if;
end $$;

-- The trigger functions of one watch. They run with the rights of the installer and must not fail the user's statement, for
-- instance because a key column was renamed. So they first name what they need in a block that catches errors and writes
-- nothing: a block that writes would cost a subtransaction id for every statement and every row.
create or replace function sidecar.create_trigger_functions(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    k text := sidecar.for_each_key(w.key_columns, null, 'k%1$s');           -- k1, k2
    rows_key text := sidecar.for_each_key(w.key_columns, null, 'r.%2$I');   -- r.id, r.region
    new_key text := sidecar.for_each_key(w.key_columns, null, 'new.%2$I');
    old_key text := sidecar.for_each_key(w.key_columns, null, 'old.%2$I');
    key_changed text := sidecar.for_each_key(w.key_columns, null,
        'new.%2$I::text collate "C" is distinct from old.%2$I::text collate "C"', ' or ');
begin
    execute format($outer$
        create or replace function sidecar.enqueue_%1$s_statement() returns trigger
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
        begin
            begin
                if tg_op = 'TRUNCATE' then
                    insert into sidecar.events_%1$s select limit 0;
                else
                    insert into sidecar.events_%1$s (%2$s) select %3$s from changed_rows r where %4$s limit 0;
                end if;
            exception when others then
                perform sidecar.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op = 'TRUNCATE' then
                insert into sidecar.events_%1$s default values;
            else
                insert into sidecar.events_%1$s (%2$s) select %3$s from changed_rows r where %4$s;
            end if;
            if found then
                perform sidecar.wake_sleepers();
            elsif exists (select from changed_rows) then
                perform sidecar.report_breakage(%1$s, '42804', 'a key column has got another type');
            end if;
            return null;
        end $f$;
    $outer$, w.id, k, rows_key, sidecar.keys_fit(w, 'r'));

    execute format($outer$
        create or replace function sidecar.enqueue_%1$s_row() returns trigger
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
        begin
            begin
                if not (case when tg_op = 'DELETE' then %7$s else %6$s end) then
                    raise datatype_mismatch using message = 'a key column has got another type';
                elsif tg_op <> 'DELETE' then
                    insert into sidecar.events_%1$s (%2$s) select %3$s limit 0;
                else
                    insert into sidecar.events_%1$s (%2$s) select %4$s limit 0;
                end if;
            exception when others then
                perform sidecar.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op <> 'DELETE' then
                insert into sidecar.events_%1$s (%2$s, force) values (%3$s, tg_nargs > 0);
            end if;
            if tg_op = 'DELETE' or (tg_op = 'UPDATE' and (%5$s)) then
                insert into sidecar.events_%1$s (%2$s) values (%4$s);
            end if;
            perform sidecar.wake_sleepers();
            return null;
        end $f$;
    $outer$, w.id, k, new_key, old_key, key_changed, sidecar.keys_fit(w, 'new'), sidecar.keys_fit(w, 'old'));

    execute format('revoke all on function sidecar.enqueue_%1$s_statement(), sidecar.enqueue_%1$s_row() from public', w.id);
end $$;

-- Whether an UPDATE may change what we watch without naming it: a BEFORE ROW trigger can, and a generated column always
-- does. UPDATE OF would miss both.
create or replace function sidecar.changes_unnamed(w sidecar.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_trigger t
                   where t.tgrelid in (select w.relation union all select p.relid from pg_partition_tree(w.relation) p)
                     and not t.tgisinternal and t.tgtype & 1 = 1 and t.tgtype & 2 = 2 and t.tgtype & 16 = 16)
        or exists (select from pg_attribute a
                   where a.attrelid = w.relation and a.attname = any (w.source || w.key_columns) and a.attgenerated <> '');
$$;

-- Whether logical replication writes to the table, a partition of it, or through the tree it is part of: triggers fire
-- then only if they are ENABLE ALWAYS.
create or replace function sidecar.is_subscribed(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_subscription_rel s where s.srrelid in (
        select is_subscribed.relation union all select p.relid from pg_partition_tree(is_subscribed.relation) p
        union all select a.relid from pg_partition_ancestors(is_subscribed.relation) a));
$$;

-- Statement triggers miss rows that come in through a partition tree or by logical replication.
create or replace function sidecar.needs_row_triggers(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_class c where c.oid = needs_row_triggers.relation and (c.relkind = 'p' or c.relispartition))
        or sidecar.is_subscribed(needs_row_triggers.relation);
$$;

-- One of a watch's triggers. `event`: 'after update of title'; `manner`: 'for each row when (...)'; `call`: 'row()'.
create or replace function sidecar.create_trigger(w sidecar.watches, suffix text, event text, home regclass, manner text, call text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('create trigger sidecar_%1$s_%2$s after %3$s on %4$s %5$s execute function sidecar.enqueue_%1$s_%6$s',
                   w.id, suffix, event, home, manner, call);
    if sidecar.is_subscribed(home) then
        execute format('alter table %3$s enable always trigger sidecar_%1$s_%2$s', w.id, suffix, home);
    end if;
end $$;

-- INSERT and DELETE fire once per statement (measured: 3-5.5 us a row of a bulk insert; a row trigger 13 us), except where
-- they must be row triggers, which Postgres copies to every partition. UPDATE fires per row and only where source or key
-- differ: transition tables cannot be had with a column list. Text is compared as bytes: 'A' and 'a' have different
-- vectors, whatever the collation says. Operators are looked up here, once, in pg_catalog.
create or replace function sidecar.create_triggers(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    unnamed boolean := sidecar.changes_unnamed(w);
    of_columns text;
    changed text;
begin
    select string_agg(quote_ident(c), ', '),
           string_agg(format(case when w.kind = 'image' and c = any (w.source) then 'old.%1$I is distinct from new.%1$I'
                             else 'old.%1$I::text collate "C" is distinct from new.%1$I::text collate "C"' end, c), ' or ')
        into of_columns, changed from (select distinct u.c from unnest(w.source || w.key_columns) as u(c)) as watched;
    if sidecar.needs_row_triggers(w.relation) then
        perform sidecar.create_trigger(w, 'insert', 'insert', w.relation, 'for each row', 'row()');
        perform sidecar.create_trigger(w, 'delete', 'delete', w.relation, 'for each row', 'row()');
    else
        perform sidecar.create_trigger(w, 'insert', 'insert', w.relation,
                                       'referencing new table as changed_rows for each statement', 'statement()');
        perform sidecar.create_trigger(w, 'delete', 'delete', w.relation,
                                       'referencing old table as changed_rows for each statement', 'statement()');
    end if;
    perform sidecar.create_trigger(w, 'update', 'update' || case when unnamed then '' else ' of ' || of_columns end, w.relation,
                                   format('for each row when (%s)', changed), 'row()');
    perform sidecar.create_trigger(w, 'truncate', 'truncate', w.relation, 'for each statement', 'statement()');
    -- Somebody else wrote the vector: an ORM that saves whole rows puts an old one back. `force`: never skipped.
    perform sidecar.create_trigger(w, 'target',
        'update' || case when unnamed and w.companion is null then '' else format(' of %I', w.target) end,
        coalesce(w.companion, w.relation),
        format('for each row when (current_setting(''sidecar.writer'', true) is distinct from ''on'' and '
               'case when old.%1$I is null or new.%1$I is null then (old.%1$I is null) <> (new.%1$I is null) '
               'else old.%1$I operator(%2$I.<>) new.%1$I end)', w.target, sidecar.vector_schema()), 'row(''force'')');
end $$;

-- Those that stand on the watched table and its companion. `fires`: a user may have disabled one.
create or replace function sidecar.triggers_of(w sidecar.watches, out name name, out home regclass, out for_row boolean,
                                    out names_columns boolean, out fires boolean)
returns setof record language sql stable set search_path = pg_catalog, pg_temp as $$
    select t.tgname, t.tgrelid::regclass, t.tgtype & 1 = 1, t.tgattr <> ''::int2vector,
           t.tgenabled = 'A' or (t.tgenabled = 'O' and not sidecar.is_subscribed(t.tgrelid)) from pg_trigger t
        where t.tgrelid in (w.relation, w.companion) and t.tgname ~ format('^sidecar_%s_[a-z]+$', w.id);
$$;

create or replace function sidecar.drop_triggers(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    t record;
begin
    for t in select * from sidecar.triggers_of(w) loop
        execute format('drop trigger %I on %s', t.name, t.home);
    end loop;
end $$;

-- Whether all triggers stand and fire, in the shape that the table needs now: it may have got a BEFORE trigger since,
-- become a partition, or been inherited from.
create or replace function sidecar.triggers_fit(w sidecar.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select count(*) = 5 and bool_and(
        case when t.name like '%\_update' then t.names_columns <> sidecar.changes_unnamed(w)
             when t.name ~ '_(insert|delete)$' then t.for_row or not sidecar.needs_row_triggers(w.relation)
             else true end)
        and not sidecar.partition_lacks_trigger(w) and not sidecar.inherits(w.relation)
        from sidecar.triggers_of(w) t where t.fires;
$$;

-- Whether a partition has lost a copy of the root's triggers, or somebody disabled it there.
create or replace function sidecar.partition_lacks_trigger(w sidecar.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (
        select from sidecar.triggers_of(w) t
        join pg_trigger root on root.tgrelid = t.home and root.tgname = t.name
        cross join lateral pg_partition_tree(t.home) p
        left join pg_trigger copy on copy.tgrelid = p.relid and copy.tgname = t.name
        where t.for_row and p.level > 0 and copy.tgenabled is distinct from root.tgenabled);
$$;

-- Removes triggers of watches that are not on this table. A restore of a user's schema brings them along.
create or replace function sidecar.drop_stray_triggers(w sidecar.watches) returns void
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
