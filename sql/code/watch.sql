-- sidecar.watch.
--
-- Order of locks, here and in the sidecar: watch row -> the user's table -> companion -> ledger -> events. A completion holds
-- the watch row FOR SHARE while it writes; in another order the two would deadlock.

-- The active or former watch of (relation, target); NULL if there was none.
create or replace function sidecar_internal.find_watch(relation regclass, target text) returns sidecar_internal.watches
language sql stable set search_path = pg_catalog, pg_temp as $$
    select w from sidecar_internal.watches w where w.relation = find_watch.relation and w.target = find_watch.target;
$$;

-- The active watches that table and target mean: `relation` NULL stands for all tables, `target` NULL for all targets of the table.
-- Raises if there is none, unless both are NULL, and for a target without a table.
create or replace function sidecar_internal.watches_meant(relation regclass, target text) returns setof sidecar_internal.watches
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp as $$
declare
    targets text[];
    vectors_of text;
begin
    if watches_meant.relation is null and watches_meant.target is not null then
        raise exception 'target % is named without its table', quote_literal(watches_meant.target)
            using errcode = 'invalid_parameter_value', hint = 'Name the table, too; without a target, all of its watches are meant.';
    end if;
    return query select x.* from sidecar_internal.watches x
        where x.unwatched_at is null and (watches_meant.relation is null or x.relation = watches_meant.relation)
          and (watches_meant.target is null or x.target = watches_meant.target) order by x.id;
    if found or watches_meant.relation is null then
        return;
    end if;
    targets := array(select x.target from sidecar_internal.watches x
                     where x.relation = watches_meant.relation and x.unwatched_at is null order by x.target);
    if cardinality(targets) > 0 then
        raise exception 'table % has no watch with target %', relation, quote_literal(watches_meant.target)
            using errcode = 'undefined_object',
                  hint = format('%sIts targets: %s', sidecar_internal.did_you_mean(watches_meant.target, targets), sidecar_internal.quoted_list(targets));
    end if;
    vectors_of := (select format('%s holds the vectors of %s: name that table.', watches_meant.relation, x.relation) from sidecar_internal.watches x
                   where watches_meant.relation in (x.companion, x.companion_view) and x.unwatched_at is null limit 1);
    raise exception 'table % is not watched', relation using errcode = 'undefined_object',
        hint = coalesce(vectors_of, format('select sidecar.watch(%L, source => ...) starts it; select * from sidecar.status lists what is watched.',
                                           relation::text));
end $$;

-- The active watch that table and target mean. Raises if there is none, or several: `target` NULL stands for the only watch of
-- the table.
create or replace function sidecar_internal.get_watch(relation regclass, target text) returns sidecar_internal.watches
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    meant sidecar_internal.watches[];
begin
    if get_watch.relation is null then
        raise exception 'no table is named' using errcode = 'invalid_parameter_value', hint = 'Name a watched table: sidecar.status lists them.';
    end if;
    meant := array(select w from sidecar_internal.watches_meant(relation, target) w);
    if cardinality(meant) > 1 then
        raise exception 'table % has % watches', relation, cardinality(meant) using errcode = 'ambiguous_column',
            hint = format('Name the target, one of: %s', sidecar_internal.quoted_list(array(select m.target from unnest(meant) m order by m.target)));
    end if;
    return meant[1];
end $$;

create or replace function sidecar_internal.quoted_list(names text[]) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select string_agg(quote_literal(n.name), ', ' order by n.i) from unnest(names) with ordinality n(name, i);
$$;

-- Creates queue, ledger, triggers and companion objects of a watch, grants what workers need, and starts the backfill. From then
-- on the path of a change is: a trigger of create_triggers -> enqueue_N_row -> events_N -> claim_live in
-- sidecar/postgres/events.sql.
create or replace function sidecar_internal.install_watch(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    definitions text[] := (sidecar_internal.primary_key_of(w.relation)).definitions;
begin
    perform sidecar_internal.create_queue(w.id, definitions);
    if to_regclass(format('sidecar_internal.ledger_%s', w.id)) is null then
        perform sidecar_internal.create_ledger(w.id, definitions);
    end if;
    perform sidecar_internal.create_trigger_functions(w);
    perform sidecar_internal.own_queue(w.id);
    perform sidecar_internal.grant_queue(w.id, r.role) from sidecar_internal.roles() r where r.kind = 'worker';
    perform sidecar_internal.grant_table(w);
    perform sidecar_internal.drop_foreign_triggers(w);
    perform sidecar_internal.create_triggers(w);
    perform sidecar_internal.sync_companion(w);
    perform sidecar_internal.start_scan(w.id, 'backfill');
    insert into sidecar_internal.progress (watch_id) values (w.id) on conflict do nothing;
    perform pg_notify('sidecar_watches', '');
end $$;

-- Raises for what cannot be watched as requested, by its owner; fills in what was omitted. Changes nothing.
create or replace function sidecar_internal.checked_watch(wanted sidecar_internal.watches, companion_name text) returns sidecar_internal.watches
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    perform sidecar_internal.vector_schema();
    perform sidecar_internal.check_relation(wanted.relation);
    select p.columns, p.types into wanted.key_columns, wanted.key_types from sidecar_internal.primary_key_of(wanted.relation) p;
    perform sidecar_internal.check_key_types(wanted.relation);
    wanted.kind := sidecar_internal.kind_of_source(wanted.relation, wanted.source, wanted.kind);
    wanted.target := coalesce(wanted.target, wanted.source[1] || '_embedding');
    wanted.companion := to_regclass(companion_name);
    wanted.storage := coalesce(wanted.storage, sidecar_internal.default_storage(wanted, companion_name));
    wanted := sidecar_internal.with_index(wanted);
    perform sidecar_internal.check_options(wanted);
    perform sidecar_internal.check_index_method(wanted);
    wanted.expose := coalesce(wanted.expose, '{}');
    perform sidecar_internal.check_exposed(wanted.relation, sidecar_internal.without_picture(wanted));
    if wanted.companion is not null then
        perform sidecar_internal.check_companion(wanted);
    elsif companion_name is null then
        perform sidecar_internal.check_target_row(wanted);
        perform sidecar_internal.target_is_missing(wanted) where sidecar_internal.storage_of(wanted.relation, wanted.target) <> wanted.storage;
    elsif wanted.target = any (wanted.key_columns) then
        raise exception 'target % is a key column, which the companion has too', quote_literal(wanted.target)
            using errcode = 'invalid_parameter_value', hint = 'Name a column of its own for the vector.';
    end if;
    return wanted;
end $$;

-- True if two calls ask for the same watch.
create or replace function sidecar_internal.is_same_watch(a sidecar_internal.watches, b sidecar_internal.watches) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select (a.kind, a.source, a.dimensions, a.index_kind, a.index_method, a.model, a.companion, a.storage)
        is not distinct from (b.kind, b.source, b.dimensions, b.index_kind, b.index_method, b.model, b.companion, b.storage)
        and a.index_options @> b.index_options and b.index_options @> a.index_options; -- in whatever order
$$;

-- Stores the watch. A former one is used again with its ledger, unless its vectors had another type in the same place. (Renamed
-- key columns keep the ledger: an entry counts only if content and vector match it.)
create or replace function sidecar_internal.save_watch(wanted sidecar_internal.watches, former sidecar_internal.watches) returns sidecar_internal.watches
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    saved sidecar_internal.watches;
    other sidecar_internal.watches;
    fits boolean := (former.kind, former.dimensions) = (wanted.kind, wanted.dimensions)
                    and (former.storage = wanted.storage or former.companion is distinct from wanted.companion);
begin
    select * into other from sidecar_internal.watches w
        where w.id is distinct from former.id and coalesce(w.companion, w.relation) = coalesce(wanted.companion, wanted.relation)
          and (w.target = wanted.target or w.companion = wanted.companion);
    if found then
        raise exception 'column % of % holds the vectors of another watch, on %', quote_literal(other.target),
                coalesce(other.companion, other.relation), other.relation
            using errcode = 'duplicate_object', hint = format('Name another one, or: select sidecar.unwatch(%L, %L, drop_target => true)',
                                                              other.relation, other.target);
    end if;
    if former.id is null then
        insert into sidecar_internal.watches (relation, key_columns, key_types, kind, source, target, companion, dimensions, index_kind,
                                     index_method, index_options, model, expose, storage)
            values (wanted.relation, wanted.key_columns, wanted.key_types, wanted.kind, wanted.source, wanted.target,
                    wanted.companion, wanted.dimensions, wanted.index_kind, wanted.index_method, wanted.index_options, wanted.model, wanted.expose, wanted.storage)
            returning * into saved;
        perform sidecar_internal.drop_queue(saved.id, keep_ledger => false); -- left by a watch with this id whose row was not restored
        return saved;
    end if;
    if not fits or not sidecar_internal.retype_ledger(former.id, former.key_types, wanted.key_types) then
        perform sidecar_internal.drop_queue(former.id, keep_ledger => false);
    end if;
    -- The new generation invalidates the ledger entries until the backfill has read their rows, which may have changed since.
    update sidecar_internal.watches w
        set key_columns = wanted.key_columns, key_types = wanted.key_types, kind = wanted.kind, source = wanted.source,
            companion = wanted.companion, dimensions = wanted.dimensions, index_kind = wanted.index_kind, index_method = wanted.index_method,
            index_options = wanted.index_options, model = wanted.model,
            expose = wanted.expose, storage = wanted.storage, unwatched_at = null, created_at = now(),
            truncated_gen = nextval('sidecar_internal.generation'), paused = former.paused and former.unwatched_at is null,
            fingerprint = case when former.dimensions = wanted.dimensions then w.fingerprint end,
            encoder = case when former.dimensions = wanted.dimensions then w.encoder end
        where w.id = former.id returning * into saved;
    return saved;
end $$;

-- True if a watch works, and the table's key is unchanged.
create or replace function sidecar_internal.is_intact(w sidecar_internal.watches, key_columns text[], key_types text[]) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select (w.key_columns, w.key_types) = (is_intact.key_columns, is_intact.key_types) and sidecar_internal.structure_fault_v2(w) is null
        and w.broken is null and not exists (select from sidecar_internal.breakages b where b.watch_id = w.id) and sidecar_internal.triggers_fit(w);
$$;

-- Locks, stores and installs a watch. Writers of the table wait from here to the end of the transaction, so that no row is
-- missed between triggers and backfill. Returns NULL if another session watched the table during the wait for the lock.
create or replace function sidecar_internal.start_watch(wanted sidecar_internal.watches, former sidecar_internal.watches, companion_name text, limits record)
returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    adds_target constant boolean := companion_name is null and sidecar_internal.target_is_missing(wanted);
    saved sidecar_internal.watches;
begin
    perform sidecar_internal.check_row_security(wanted.relation);
    perform sidecar_internal.check_row_security(wanted.companion);
    perform sidecar_internal.lock_table(wanted.relation, case when adds_target then 'access exclusive' else 'share row exclusive' end, limits);
    if former.id is null and (sidecar_internal.find_watch(wanted.relation, wanted.target)).id is not null then
        return null;
    end if;
    if companion_name is not null and wanted.companion is null then
        wanted.companion := sidecar_internal.create_companion(wanted, companion_name);
    elsif companion_name is not null then
        perform sidecar_internal.lock_table(wanted.companion, 'share row exclusive', limits);
    elsif adds_target then
        perform sidecar_internal.add_target(wanted);
    end if;
    saved := sidecar_internal.save_watch(wanted, former);
    perform sidecar_internal.prepare_ledger(former, saved);
    perform sidecar_internal.install_watch(saved);
    if former.id is not null then
        perform sidecar_internal.start_scan(saved.id, 'sweep'); -- finds what was deleted while the table was not watched
    end if;
    if former.dimensions <> wanted.dimensions then
        perform sidecar_internal.start_scan(saved.id, 'clear');
    elsif saved.fingerprint is not null and saved.model not in (saved.fingerprint, coalesce(saved.encoder, '')) then
        perform sidecar.reembed(saved.relation, saved.target, saved.model);
    end if;
    perform sidecar_internal.report_former_indexes(saved);
    perform sidecar_internal.warn_of_updates(saved);
    perform sidecar_internal.warn_of_dimensions(saved);
    perform sidecar_internal.warn_of_old_pgvector();
    return saved.id;
end $$;

-- Exposes other columns from now on, without a new backfill. Workers lose SELECT on columns that are no longer exposed.
create or replace function sidecar_internal.change_exposure(w sidecar_internal.watches, wanted text[]) returns sidecar_internal.watches
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if w.expose <> wanted then
        perform sidecar_internal.revoke_table(w);
        update sidecar_internal.watches x set expose = wanted where x.id = w.id returning * into w;
    end if;
    return w;
end $$;

-- One try of watch. Returns NULL if another session watched the table meanwhile. Raises lock_not_available.
create or replace function sidecar_internal.try_watch(wanted sidecar_internal.watches, companion_name text, replace boolean, limits record) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    former sidecar_internal.watches;
    is_same boolean;
begin
    perform set_config('lock_timeout', limits.theirs, true);
    select * into former from sidecar_internal.watches w where w.relation = wanted.relation and w.target = wanted.target for update;
    perform set_config('lock_timeout', limits.ours, true);
    if former.id is not null and former.unwatched_at is null then
        is_same := sidecar_internal.is_same_watch(former, wanted) and (former.companion is null) = (companion_name is null);
        if not replace and not (is_same and sidecar_internal.present_columns(former) = wanted.expose) then
            raise exception '%.% is already watched, with source %, companion %, dimensions %, model %, index %, storage %, expose %', wanted.relation,
                quote_ident(former.target), former.source, coalesce(former.companion::text, 'none'), former.dimensions,
                coalesce(former.model, 'any'), sidecar_internal.index_argument(former), former.storage, former.expose
                using errcode = 'duplicate_object', hint = 'Add replace => true to change it, or name another target.';
        elsif is_same and sidecar_internal.is_intact(former, wanted.key_columns, wanted.key_types) then
            former := sidecar_internal.change_exposure(former, wanted.expose);
            perform sidecar_internal.grant_table(former);
            perform sidecar_internal.sync_companion(former);
            return former.id;
        end if;
        perform sidecar_internal.end_watch(former.id, former.relation, false, limits);
    end if;
    return sidecar_internal.start_watch(wanted, former, companion_name, limits);
end $$;

-- Keeps target up to date with source, for present rows and later changes. Returns the id of the watch. The same call again
-- changes nothing, and repairs what is missing or broken. If the companion changes, or there is none any more, the vectors are
-- moved and not computed again. `storage` NULL stands for that of an existing column or watch, else for 'vector'.
create or replace function sidecar.watch(
    relation regclass, source text[], target text default null, kind text default null, companion text default null,
    dimensions integer default 1152, model text default null, index text default 'halfvec', replace boolean default false,
    expose text[] default '{}', storage text default null
) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    companion_name constant text := sidecar_internal.companion_name(relation, companion);
    limits constant record := sidecar_internal.wait_limits();
    wanted sidecar_internal.watches;
    made integer;
begin
    perform sidecar_internal.follow_changes(relation, target);
    wanted.relation := relation; wanted.source := source; wanted.target := target; wanted.kind := kind;
    wanted.dimensions := dimensions; wanted.index_kind := index; wanted.model := model;
    wanted.expose := expose; wanted.storage := storage;
    wanted := sidecar_internal.checked_watch(wanted, companion_name);
    perform sidecar_internal.check_owner(relation);
    perform sidecar_internal.try_index_options(wanted);
    for attempt in 1 .. limits.tries loop
        begin
            made := sidecar_internal.try_watch(wanted, companion_name, replace, limits);
            perform set_config('lock_timeout', limits.own, true);
            return coalesce(made, sidecar.watch(relation, source, target, kind, companion, dimensions, model, index, replace, expose, storage));
        exception when lock_not_available then
            null; -- The try is undone, and the user's table is unlocked.
        end;
    end loop;
    perform sidecar_internal.raise_in_use(relation, wanted.companion, (sidecar_internal.find_watch(relation, wanted.target)).id, limits.own, limits.began);
end $$;
comment on function sidecar.watch(regclass, text[], text, text, text, integer, text, text, boolean, text[], text) is
    'Keeps a vector of one or more source columns up to date, in a column of the table or in a companion table, for present rows '
    'and for each change from now on. Returns the number of the watch. Repeating the call changes nothing but repairs what is '
    'missing; replace => true changes a watch.';

-- The same for one source column.
create or replace function sidecar.watch(
    relation regclass, source text, target text default null, kind text default null, companion text default null,
    dimensions integer default 1152, model text default null, index text default 'halfvec', replace boolean default false,
    expose text[] default '{}', storage text default null
) returns integer
language sql set search_path = pg_catalog, pg_temp as $$
    select sidecar.watch(relation, array[source], target, kind, companion, dimensions, model, index, replace, expose, storage);
$$;
comment on function sidecar.watch(regclass, text, text, text, text, integer, text, text, boolean, text[], text) is
    'As sidecar.watch with an array of source columns, for one source column.';
