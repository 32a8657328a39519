-- Companion tables: the view that joins, owner and privileges, vectors that users delete, and moving in and out.

alter table sidecar.watches
    add column companion_view regclass,             -- joins watched table and companion; NULL: there is none
    add column moved_from regclass,                 -- the former home of the vectors, which still has them
    add column moved_fingerprint text;              -- and their space: vectors of another one do not follow

-- `move` carries vectors from the former home to the new one, before the backfill looks at the rows.
alter table sidecar.scans drop constraint scans_purpose_check,
    add constraint scans_purpose_check check (purpose in ('clear', 'move', 'backfill', 'sweep', 'verify'));

-- Gives what we made the owner of the watched table, and whoever may read that table may read it.
create function sidecar.share_like(relation regclass, made regclass) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    model record;
    grantee oid;
begin
    select c.relowner::regrole as owner, c.relowner <> m.relowner and has_schema_privilege(c.relowner, m.relnamespace, 'create') as moves,
           c.relrowsecurity and m.relkind <> 'v' as hides into model
        from pg_class c, pg_class m where c.oid = relation and m.oid = made;
    if model.hides then
        raise warning 'table % has row-level security, which % has not: only its owner may read it', relation, made
            using hint = 'Grant SELECT on it yourself, after a policy of its own.';
    else
        for grantee in select a.grantee from pg_class c cross join aclexplode(c.relacl) a
                       where c.oid = relation and a.privilege_type = 'SELECT' and a.grantee <> c.relowner loop
            execute format('grant select on %s to %s', made, case grantee when 0 then 'public' else grantee::regrole::text end);
        end loop;
    end if;
    if model.moves then
        execute format('alter table %s owner to %s', made, model.owner);
    end if;
end $$;

-- No foreign key to the watched table: one would make users' TRUNCATE and key updates fail.
create or replace function sidecar.create_companion(w sidecar.watches, name text) returns regclass
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    key record := sidecar.primary_key_of(w.relation);
begin
    execute format('create table %s (%s, %I %I.vector(%s) not null, primary key (%s))', name,
        sidecar.for_each_key(key.columns, key.definitions, '%2$I %3$s'), w.target, sidecar.vector_schema(), w.dimensions,
        sidecar.for_each_key(key.columns, null, '%2$I'));
    perform sidecar.check_relation(to_regclass(name));  -- nor in a temporary schema, nor in ours
    perform sidecar.share_like(w.relation, to_regclass(name));
    return to_regclass(name);
end $$;

-- The view beside a companion: key, source and vector of the rows that are there. It names the watched columns only, so that
-- migrations of other columns never meet it; and it lets nobody read what he could not read without it.
create function sidecar.create_companion_view(w sidecar.watches) returns regclass
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    class record;
    name text;
    columns text;
begin
    select n.nspname, c.relname into class from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.companion;
    while octet_length(class.relname || '_view') > 63 loop
        class.relname := left(class.relname, -1);
    end loop;
    name := format('%I.%I', class.nspname, class.relname || '_view');
    if to_regclass(name) is not null then
        raise warning 'the view of companion % was not made: the name % is taken', w.companion, name
            using hint = 'Nothing depends on it: join the two tables yourself, as the query in sidecar.status does.';
        return null;
    end if;
    select string_agg(format('t.%I', u.c), ', ' order by u.n) into columns
        from unnest(w.key_columns || w.source) with ordinality as u(c, n)
        where u.n <= cardinality(w.key_columns) or u.c <> all (w.key_columns);
    execute format('create view %s with (security_invoker = true) as select %s, e.%I from %s t join %s e on %s', name, columns, w.target,
                   w.relation, w.companion, sidecar.for_each_key(w.key_columns, null, 't.%2$I = e.%2$I', ' and '));
    execute format('comment on view %s is %L', name, format('Rows of %s and their vectors. Kept by the sidecar.', w.relation));
    perform sidecar.share_like(w.relation, to_regclass(name));
    return to_regclass(name);
end $$;

-- A vector that a user deletes from a companion comes back. Names nothing of the watch's that may have been renamed or
-- dropped, and must not fail the user's statement.
create function sidecar.enqueue_lost_vectors() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
begin
    select * into w from sidecar.watches x where x.id = tg_argv[0]::integer and x.companion = tg_relid and x.unwatched_at is null;
    if found then
        execute format('insert into sidecar.events_%s (%s) select %s from lost_rows r where %s', w.id,
                       sidecar.for_each_key(w.key_columns, null, 'k%1$s'), sidecar.for_each_key(w.key_columns, null, 'r.%2$I'),
                       sidecar.keys_fit(w, 'r'));
        perform sidecar.wake_sleepers();
    end if;
    return null;
exception when others then
    perform sidecar.report_breakage(w.id, sqlstate, sqlerrm);
    return null;
end $$;

-- What belongs to a companion beside its column: made where it is missing.
create function sidecar.dress_companion(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    made regclass;
begin
    if w.companion is null then
        return;
    elsif not exists (select from pg_trigger t where t.tgrelid = w.companion and t.tgname = format('sidecar_%s_row_deleted', w.id)) then
        execute format('create trigger sidecar_%1$s_row_deleted after delete on %2$s referencing old table as lost_rows for each statement '
                       'when (current_setting(''sidecar.writer'', true) is distinct from ''on'') '
                       'execute function sidecar.enqueue_lost_vectors(%1$s)', w.id, w.companion);
    end if;
    if not sidecar.has_view(w) then
        made := sidecar.create_companion_view(w);
        update sidecar.watches x set companion_view = made where x.id = w.id and x.companion_view is distinct from made;
        if made is not null then
            raise notice '% joins % and its vectors', made, w.relation;
        end if;
    end if;
end $$;

-- Whether the view still is the one that joins the companion. A dump keeps the number of a view that was dropped, and after a
-- restore another relation may bear it.
create function sidecar.has_view(w sidecar.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_rewrite r
                   join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
                   where r.ev_class = w.companion_view and d.refobjid in (w.relation, w.companion)
                   having count(distinct d.refobjid) = 2);
$$;

-- The other way round, when a watch ends: the view would stand in the way of changes to the watched columns.
create function sidecar.release_companion(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
begin
    if exists (select from pg_class c where c.oid = w.companion) then
        execute format('drop trigger if exists sidecar_%s_row_deleted on %s', w.id, w.companion);
    end if;
    if sidecar.has_view(w) then
        begin
            execute format('drop view %s', w.companion_view);
            update sidecar.watches x set companion_view = null where x.id = w.id;
        exception when dependent_objects_still_exist then
            raise warning 'view % stays: %', w.companion_view, sqlerrm using hint = 'Drop what depends on it, then the view.';
        end;
    end if;
end $$;

-- Measured: an UPDATE of another column of 1,000 rows takes 3 ms beside a companion; with an HNSW index on the same row 1.0 s
-- (halfvec) or 2.4 s (vector). Our own writes to the rows are not counted.
create or replace function sidecar.warn_of_updates(w sidecar.watches) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    live bigint;
    updates bigint;
begin
    select sum(s.n_live_tup), sum(s.n_tup_upd) - coalesce((select sum(p.embedded_total) from sidecar.progress p
                                                           join sidecar.watches x on x.id = p.watch_id
                                                           where x.relation = w.relation and x.companion is null), 0)
        into live, updates from pg_stat_all_tables s where s.relid in (select t.home from sidecar.tree_of(w.relation) t);
    if w.companion is null and w.index_kind <> 'none' and updates > greatest(1000, live) then
        raise warning 'table % has seen % updates of % rows: an HNSW index on the same row makes each of them about % ms slower',
            w.relation, updates, live, case w.index_kind when 'halfvec' then 1 else 2 end
            using hint = 'Keep the vector in a table of its own: companion => ''some_table''.';
    end if;
end $$;

-- Keeps what the ledger knows of the vectors in their former home, for sidecar.move_page. The ledger starts empty, so at every
-- moment it tells what stands in the new home, and status how much.
create function sidecar.start_move(former sidecar.watches, saved sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
    old_ledger constant text := format('sidecar.former_%s', saved.id);
    new_home constant regclass := coalesce(saved.companion, saved.relation);
    old_home constant regclass := coalesce(former.companion, former.relation);
    is_under_way boolean := false;
    worker regrole;
begin
    if to_regclass(old_ledger) is not null then
        execute format('select exists (select from %s)', old_ledger) into is_under_way;
    end if;
    if is_under_way and former.moved_from = new_home and former.moved_fingerprint = former.fingerprint then
        -- Back again. What was written meanwhile goes by its digest, so an entry of the one or the other is as good.
        execute format('insert into sidecar.former_%1$s select * from sidecar.ledger_%1$s on conflict do nothing', saved.id);
        perform sidecar.rename_ledger(saved.id, 'former', 'ledger');
        update sidecar.watches x set moved_from = null where x.id = saved.id;
        return;
    end if;
    perform sidecar.rename_ledger(saved.id, 'ledger', 'former');
    update sidecar.watches x set moved_from = old_home, moved_fingerprint = saved.fingerprint where x.id = saved.id;
    perform sidecar.start_scan(saved.id, 'move');
    for worker in select r.role from sidecar.roles() r
                  where r.kind = 'worker' and exists (select from pg_attribute a
                                                      where a.attrelid = old_home and a.attname = former.target and not a.attisdropped) loop
        execute format('grant select (%s, %I) on %s to %s', sidecar.for_each_key(former.key_columns, null, '%2$I'), former.target, old_home, worker);
    end loop;
end $$;

create function sidecar.rename_ledger(watch_id integer, present text, wanted text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('drop table if exists sidecar.%s_%s', wanted, watch_id);
    execute format('alter table sidecar.%1$s_%3$s rename to %2$s_%3$s; alter index sidecar.%1$s_%3$s_pkey rename to %2$s_%3$s_pkey; '
                   'alter index sidecar.%1$s_%3$s_exceptions rename to %2$s_%3$s_exceptions', present, wanted, watch_id);
end $$;

-- Carries the next vectors to their new home, with their ledger entries: those that still are what the ledger knows, of rows
-- that are there. Rows that somebody has locked, or that were embedded since, are left to the backfill, which follows. Returns
-- how many it looked at; fewer than `max_rows`: that was all. Locks in the order of `complete`: watch, rows, ledger.
create function sidecar.move_page(watch_id integer, max_rows integer) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp set row_security = off as $$
declare
    w sidecar.watches;
    looked_at bigint := 0;
    to_row boolean;
begin
    select * into w from sidecar.watches x where x.id = watch_id and x.unwatched_at is null for share;
    to_row := w.companion is null;
    perform set_config('sidecar.writer', 'on', true);
    -- Not where vectors of another space are wanted by now, nor where the former home has been dropped.
    if to_regclass(format('sidecar.former_%s', w.id)) is not null
            and exists (select from pg_attribute a where a.attrelid = w.moved_from and a.attname = w.target and not a.attisdropped)
            and w.fingerprint = w.moved_fingerprint then
        execute format($sql$
            with page as (
                delete from sidecar.former_%1$s f where f.ctid = any (array(select x.ctid from sidecar.former_%1$s x limit $1)) returning f.*
            ), found as materialized (
                select p.*, h.%2$I as vector from page p join %3$s t on %5$s join %4$s h on %6$s
                where sha256(%7$I.vector_send(h.%2$I)) = p.vector_digest %8$s
            ), recorded as (
                insert into sidecar.ledger_%1$s (%9$s, gen, content_hash, vector_digest, truncated, embedded_at)
                select %9$s, gen, content_hash, vector_digest, truncated, embedded_at from found order by %9$s
                on conflict (%9$s) do nothing returning %9$s
            ), written as (%10$s)
            select count(*) from page
        $sql$, w.id, w.target, w.relation, w.moved_from, sidecar.for_each_key(w.key_columns, null, 't.%2$I = p.k%1$s', ' and '),
            sidecar.for_each_key(w.key_columns, null, 'h.%2$I = p.k%1$s', ' and '), sidecar.vector_schema(),
            case when to_row then 'for no key update of t skip locked' else '' end, sidecar.for_each_key(w.key_columns, null, 'k%1$s'),
            case when to_row then
                format('update %s t set %I = f.vector from found f join recorded r using (%s) where %s', w.relation, w.target,
                       sidecar.for_each_key(w.key_columns, null, 'k%1$s'), sidecar.for_each_key(w.key_columns, null, 't.%2$I = f.k%1$s', ' and '))
            else
                format('insert into %s (%s, %I) select %s, f.vector from found f join recorded r using (%4$s) '
                       'on conflict (%2$s) do update set %3$I = excluded.%3$I', w.companion, sidecar.for_each_key(w.key_columns, null, '%2$I'),
                       w.target, sidecar.for_each_key(w.key_columns, null, 'k%1$s'))
            end) into looked_at using max_rows;
    end if;
    if looked_at < max_rows and not to_row then -- an older companion, whose rows were deleted while nobody watched
        execute format('delete from %s e where not exists (select from %s t where %s)', w.companion, w.relation,
                       sidecar.for_each_key(w.key_columns, null, 't.%2$I = e.%2$I', ' and '));
    end if;
    return looked_at;
end $$;

-- Raises for what cannot be watched as asked; fills in what was left out. Changes nothing.
create or replace function sidecar.checked_watch(wanted sidecar.watches, companion_name text) returns sidecar.watches
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    perform sidecar.vector_schema();
    perform sidecar.check_relation(wanted.relation);
    select p.columns, p.types into wanted.key_columns, wanted.key_types from sidecar.primary_key_of(wanted.relation) p;
    perform sidecar.check_key_types(wanted.relation);
    wanted.kind := sidecar.kind_of_source(wanted.relation, wanted.source, wanted.kind);
    wanted.target := coalesce(wanted.target, wanted.source[1] || '_embedding');
    perform sidecar.check_options(wanted.target, wanted.source, wanted.dimensions, wanted.index_kind);
    wanted.companion := to_regclass(companion_name);
    if wanted.companion is not null then
        perform sidecar.check_companion(wanted);
    elsif companion_name is null then
        perform sidecar.check_place(wanted);
    elsif wanted.target = any (wanted.key_columns) then
        raise exception 'target % is a key column, which the companion has too', quote_literal(wanted.target)
            using errcode = 'invalid_parameter_value', hint = 'Name a column of its own for the vector.';
    end if;
    return wanted;
end $$;

-- Writes the watch's row. A former one is taken up again with its ledger, unless its vectors were of another type.
-- (Keys that were merely renamed keep it: an entry counts only where content and vector are what it says.)
create or replace function sidecar.save_watch(wanted sidecar.watches, former sidecar.watches) returns sidecar.watches
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    saved sidecar.watches;
    other sidecar.watches;
    fits boolean := (former.kind, former.dimensions) = (wanted.kind, wanted.dimensions);
begin
    select * into other from sidecar.watches w
        where w.id is distinct from former.id and coalesce(w.companion, w.relation) = coalesce(wanted.companion, wanted.relation)
          and (w.target = wanted.target or w.companion = wanted.companion);
    if found then
        raise exception 'column % of % holds the vectors of another watch, on %', quote_literal(other.target),
                coalesce(other.companion, other.relation), other.relation
            using errcode = 'duplicate_object', hint = format('Name another one, or: select sidecar.unwatch(%L, %L, drop_target => true)',
                                                              other.relation, other.target);
    end if;
    if former.id is null then
        insert into sidecar.watches (relation, key_columns, key_types, kind, source, target, companion, dimensions, index_kind,
                                     model)
            values (wanted.relation, wanted.key_columns, wanted.key_types, wanted.kind, wanted.source, wanted.target,
                    wanted.companion, wanted.dimensions, wanted.index_kind, wanted.model)
            returning * into saved;
        return saved;
    end if;
    if not fits or not sidecar.retype_ledger(former.id, former.key_types, wanted.key_types) then
        perform sidecar.drop_queue(former.id, keep_ledger => false);
    end if;
    -- The new generation voids what the ledger says until the backfill has looked at the row: it may have changed since.
    update sidecar.watches w
        set key_columns = wanted.key_columns, key_types = wanted.key_types, kind = wanted.kind, source = wanted.source,
            companion = wanted.companion, dimensions = wanted.dimensions, index_kind = wanted.index_kind, model = wanted.model,
            unwatched_at = null, created_at = now(),
            truncated_gen = nextval('sidecar.generation'), paused = former.paused and former.unwatched_at is null,
            fingerprint = case when former.dimensions = wanted.dimensions then w.fingerprint end,
            encoder = case when former.dimensions = wanted.dimensions then w.encoder end
        where w.id = former.id returning * into saved;
    return saved;
end $$;

-- Keeps target up to date with source, from now on and for the rows that are there. Returns the watch's id. The same call
-- again changes nothing; if something is missing or broken it mends it. Another companion, or none any longer: the vectors
-- move, and are not made again.
create or replace function sidecar.watch(
    relation regclass, source text[], target text default null, kind text default null, companion text default null,
    dimensions integer default 1152, model text default null, index text default 'halfvec', replace boolean default false
) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    companion_name constant text := sidecar.companion_name(relation, companion);
    wanted sidecar.watches;
    former sidecar.watches;
    is_same boolean;
begin
    perform sidecar.follow_changes(relation, target);
    wanted.relation := relation; wanted.source := source; wanted.target := target; wanted.kind := kind;
    wanted.dimensions := dimensions; wanted.index_kind := index; wanted.model := model;
    wanted := sidecar.checked_watch(wanted, companion_name);
    select * into former from sidecar.watches w where w.relation = wanted.relation and w.target = wanted.target for update;
    if former.id is not null and former.unwatched_at is null then
        is_same := sidecar.is_same_watch(former, wanted) and (former.companion is null) = (companion_name is null);
        if is_same and sidecar.is_intact(former, wanted.key_columns, wanted.key_types) then
            perform sidecar.grant_table(former);
            perform sidecar.dress_companion(former);
            return former.id;
        elsif not (is_same or replace) then
            raise exception '%.% is watched already, with source %, companion %, dimensions %, model %, index %', relation,
                quote_ident(former.target), former.source, coalesce(former.companion::text, 'none'), former.dimensions,
                coalesce(former.model, 'any'), former.index_kind
                using errcode = 'duplicate_object', hint = 'Add replace => true to change it, or name another target.';
        end if;
        perform sidecar.unwatch(relation, former.target);
    end if;
    return coalesce(sidecar.start_watch(wanted, former, companion_name),
                    sidecar.watch(relation, source, target, kind, companion, dimensions, model, index, replace));
end $$;

-- Locks, saves and installs. Writers of the table wait from here to the end of the transaction, so that no row falls
-- between the triggers and the backfill. NULL: another session watched it while we waited for the lock.
create or replace function sidecar.start_watch(wanted sidecar.watches, former sidecar.watches, companion_name text) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    adds_target constant boolean := companion_name is null and sidecar.target_is_missing(wanted);
    saved sidecar.watches;
begin
    perform sidecar.check_row_security(wanted.relation);
    perform sidecar.check_row_security(wanted.companion);
    perform sidecar.lock_table(wanted.relation, case when adds_target then 'access exclusive' else 'share row exclusive' end);
    if former.id is null and (sidecar.find_watch(wanted.relation, wanted.target)).id is not null then
        return null;
    end if;
    if companion_name is not null and wanted.companion is null then
        wanted.companion := sidecar.create_companion(wanted, companion_name);
    elsif companion_name is not null then
        perform sidecar.lock_table(wanted.companion, 'share row exclusive');
    elsif adds_target then
        perform sidecar.add_target(wanted);
    end if;
    saved := sidecar.save_watch(wanted, former);
    perform sidecar.prepare_ledger(former, saved);
    perform sidecar.install_watch(saved);
    if former.id is not null then
        perform sidecar.start_scan(saved.id, 'sweep'); -- for what was deleted while nobody watched
    end if;
    if former.dimensions <> wanted.dimensions then
        perform sidecar.start_scan(saved.id, 'clear');
    elsif saved.fingerprint is not null and saved.model not in (saved.fingerprint, coalesce(saved.encoder, '')) then
        perform sidecar.reembed(saved.relation, saved.target, saved.model);
    end if;
    perform sidecar.warn_of_updates(saved);
    perform sidecar.warn_of_old_pgvector();
    return saved.id;
end $$;

-- A ledger tells of vectors in one place and of one space. Where they go to another place, it is put aside for the move.
create function sidecar.prepare_ledger(former sidecar.watches, saved sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    has_vectors boolean;
begin
    if to_regclass(format('sidecar.ledger_%s', saved.id)) is null then
        return;
    elsif saved.fingerprint is null then -- unwatched after a reembed, before the old vectors were cleared
        execute format('select exists (select from sidecar.ledger_%s l where l.vector_digest is not null)', saved.id) into has_vectors;
        execute format('drop table sidecar.ledger_%s', saved.id);
        if has_vectors then
            perform sidecar.start_scan(saved.id, 'clear');
        end if;
        return;
    elsif former.companion is not distinct from saved.companion then
        return;
    end if;
    perform sidecar.start_move(former, saved);
    raise notice 'the vectors of % move from % to %: sidecar.status tells how far', saved.relation,
            coalesce(former.companion, former.relation), coalesce(saved.companion, saved.relation)
        using hint = 'Search the new place from now on. When all have moved, and not before, drop the former one: '
            || case when former.companion is null then format('alter table %s drop column %I;', former.relation, former.target)
               else format('drop table %s;', former.companion) end;
end $$;

create or replace function sidecar.install_watch(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    definitions text[] := (sidecar.primary_key_of(w.relation)).definitions;
begin
    perform sidecar.create_queue(w.id, definitions);
    if to_regclass(format('sidecar.ledger_%s', w.id)) is null then
        perform sidecar.create_ledger(w.id, definitions);
    end if;
    perform sidecar.create_trigger_functions(w);
    perform sidecar.own_queue(w.id);
    perform sidecar.grant_queue(w.id, r.role) from sidecar.roles() r where r.kind = 'worker';
    perform sidecar.grant_table(w);
    perform sidecar.drop_stray_triggers(w);
    perform sidecar.create_triggers(w);
    perform sidecar.dress_companion(w);
    perform sidecar.start_scan(w.id, 'backfill');
    insert into sidecar.progress (watch_id) values (w.id) on conflict do nothing;
    perform pg_notify('sidecar_watches', '');
end $$;

revoke all on all functions in schema sidecar from public;
