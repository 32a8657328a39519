-- Undoes 0013_companions.up.sql. Vectors on their way between two homes are encoded anew.
do $$
declare
    w sidecar.watches;
begin
    for w in select * from sidecar.watches loop
        perform sidecar.release_companion(w);
        execute format('drop table if exists sidecar.former_%s', w.id);
    end loop;
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
    perform sidecar.create_triggers(w);
    perform sidecar.start_scan(w.id, 'backfill');
    insert into sidecar.progress (watch_id) values (w.id) on conflict do nothing;
    perform pg_notify('sidecar_watches', '');
end $$;

create or replace function sidecar.start_watch(wanted sidecar.watches, former sidecar.watches, companion_name text) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    adds_target constant boolean := companion_name is null and sidecar.target_is_missing(wanted);
    saved sidecar.watches;
begin
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
    wanted.relation := relation; wanted.source := source; wanted.target := target; wanted.kind := kind;
    wanted.dimensions := dimensions; wanted.index_kind := index; wanted.model := model;
    wanted := sidecar.checked_watch(wanted, companion_name);
    select * into former from sidecar.watches w where w.relation = wanted.relation and w.target = wanted.target for update;
    if former.id is not null and former.unwatched_at is null then
        is_same := sidecar.is_same_watch(former, wanted) and (former.companion is null) = (companion_name is null);
        if is_same and sidecar.is_intact(former, wanted.key_columns, wanted.key_types) then
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

create or replace function sidecar.save_watch(wanted sidecar.watches, former sidecar.watches) returns sidecar.watches
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    saved sidecar.watches;
    other sidecar.watches;
    fits boolean := (former.key_types, former.dimensions) = (wanted.key_types, wanted.dimensions);
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
    if not fits then
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
    elsif companion_name is not null and wanted.target = any (wanted.key_columns) then
        raise exception 'target % is a key column, which the companion has too', quote_literal(wanted.target)
            using errcode = 'invalid_parameter_value', hint = 'Name a column of its own for the vector.';
    end if;
    return wanted;
end $$;

create or replace function sidecar.warn_of_updates(w sidecar.watches) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    s record;
begin
    select t.n_tup_upd, t.n_live_tup into s from pg_stat_all_tables t where t.relid = w.relation;
    if w.companion is null and w.index_kind <> 'none' and s.n_tup_upd > greatest(10000, 2 * s.n_live_tup) then
        raise warning 'table % has seen % updates of % rows: an HNSW index on the same row makes each of them about 2 ms slower',
            w.relation, s.n_tup_upd, s.n_live_tup
            using hint = 'Keep the vector in a table of its own: companion => ''some_table''.';
    end if;
end $$;

create or replace function sidecar.create_companion(w sidecar.watches, name text) returns regclass
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    key record := sidecar.primary_key_of(w.relation);
begin
    execute format('create table %s (%s, %I %I.vector(%s) not null, primary key (%s))', name,
        sidecar.for_each_key(key.columns, key.definitions, '%2$I %3$s'), w.target, sidecar.vector_schema(), w.dimensions,
        sidecar.for_each_key(key.columns, null, '%2$I'));
    perform sidecar.check_relation(to_regclass(name));  -- nor in a temporary schema, nor in ours
    return to_regclass(name);
end $$;

drop function sidecar.prepare_ledger(sidecar.watches, sidecar.watches);
drop function sidecar.move_page(integer, integer);
drop function sidecar.rename_ledger(integer, text, text);
drop function sidecar.start_move(sidecar.watches, sidecar.watches);
drop function sidecar.release_companion(sidecar.watches);
drop function sidecar.has_view(sidecar.watches);
drop function sidecar.dress_companion(sidecar.watches);
drop function sidecar.enqueue_lost_vectors();
drop function sidecar.create_companion_view(sidecar.watches);
drop function sidecar.share_like(regclass, regclass);
delete from sidecar.scans where purpose = 'move';
alter table sidecar.scans drop constraint scans_purpose_check,
    add constraint scans_purpose_check check (purpose in ('clear', 'backfill', 'sweep', 'verify'));
alter table sidecar.watches drop column moved_fingerprint, drop column moved_from, drop column companion_view;
