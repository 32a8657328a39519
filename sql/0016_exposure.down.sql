-- Undoes 0016_exposure.up.sql.
do $$
begin
    perform sidecar.grant_table(sidecar.change_exposure(w, '{}')) from sidecar.watches w
        where w.unwatched_at is null and w.expose <> '{}' and exists (select from pg_class c where c.oid = w.relation);
end $$;
drop function sidecar.search_exposed;
drop function sidecar.unreadable_filter;
drop function sidecar.search_exposed_statement;
drop function sidecar.searchable_columns;
drop function sidecar.shown_value;
alter function sidecar.watch(regclass, text[], text, text, text, integer, text, text, boolean, text[]) rename to former_watch;
alter function sidecar.watch(regclass, text, text, text, text, integer, text, text, boolean, text[]) rename to former_watch;

-- Keeps target up to date with source, from now on and for the rows that are there. Returns the watch's id. The same call
-- again changes nothing; if something is missing or broken it mends it. Another companion, or none any longer: the vectors
-- move, and are not made again.
create function sidecar.watch(
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

-- The usual case of one source column.
create function sidecar.watch(
    relation regclass, source text, target text default null, kind text default null, companion text default null,
    dimensions integer default 1152, model text default null, index text default 'halfvec', replace boolean default false
) returns integer
language sql set search_path = pg_catalog, pg_temp as $$
    select sidecar.watch(relation, array[source], target, kind, companion, dimensions, model, index, replace);
$$;


-- The call that makes a watch what it is, or mends it. A companion that is gone is made anew, under a name of its own.
create or replace function sidecar.watch_statement(w sidecar.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('select sidecar.watch(%L, source => array[%s], target => %L, kind => %L, companion => %L, dimensions => %s, model => %L, index => %L)',
                  w.relation, (select string_agg(quote_literal(c), ', ' order by i) from unnest(w.source) with ordinality u(c, i)),
                  w.target, w.kind, case when w.companion is not null then coalesce(
                      (select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.companion),
                      (select format('%I.%I', n.nspname, left(c.relname || '_' || w.target, 63))
                       from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.relation)) end,
                  w.dimensions, w.model, w.index_kind);
$$;

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

-- Gives the workers what they need of the user's tables, and the installer what it needs to count rows, as far as the caller
-- may. Warns of what is missing then.
create or replace function sidecar.grant_table(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    worker regrole;
    is_owner constant boolean := (select pg_has_role(c.relowner, 'usage') from pg_class c where c.oid = w.relation);
    readable constant text := (sidecar.columns_of(w)).readable;
    denied text;
begin
    if is_owner and not has_any_column_privilege(sidecar.installer()::oid, w.relation, 'select') then
        perform sidecar.grant_schemas(w, sidecar.installer());
        execute format('grant select (%s) on %s to %s', (sidecar.columns_of(w)).keys, w.relation, sidecar.installer());
    end if;
    for worker in select r.role from sidecar.roles() r where r.kind = 'worker' loop
        if is_owner and sidecar.denial_of(w, pg_get_userbyid(worker)) is not null then
            perform sidecar.grant_schemas(w, worker);
            execute format('grant select (%s) on %s to %s', readable, w.relation, worker);
            if w.companion is null then
                execute format('grant update (%I) on %s to %s', w.target, w.relation, worker);
            else
                execute format('grant select, insert, update, delete on %s to %s', w.companion, worker);
            end if;
        end if;
        denied := sidecar.denial_of(w, pg_get_userbyid(worker));
        if denied is not null then
            raise warning 'the sidecar cannot work on % yet: %', w.relation, denied
                using hint = 'Let the owner, or a superuser, run the statement.';
        end if;
    end loop;
end $$;

-- The columns of the watched table that a watch works with, those that are there. `written`: the target, if it stands there.
create or replace function sidecar.columns_of(w sidecar.watches, out readable text, out written text, out keys text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attname <> w.target or w.companion is null),
           string_agg(quote_ident(a.attname), ', ') filter (where a.attname = w.target),
           string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attname = any (w.key_columns))
        from pg_attribute a
        where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
          and a.attname = any (w.key_columns || w.source || w.target);
$$;

drop function sidecar.change_exposure(sidecar.watches, text[]);
drop function sidecar.check_exposed(regclass, text[]);
drop function sidecar.unreadable_columns(sidecar.watches, name);
drop function sidecar.exposed_columns(sidecar.watches);
alter table sidecar.watches drop column expose;

revoke all on all functions in schema sidecar from public;
do $$
declare
    granted record;
begin
    for granted in select distinct case a.grantee when 0 then 'public' else a.grantee::regrole::text end as role
                   from pg_proc p cross join aclexplode(p.proacl) a
                   where p.pronamespace = 'sidecar'::regnamespace and p.proname = 'former_watch' and a.grantee <> p.proowner loop
        execute format('grant execute on routine sidecar.watch(regclass, text[], text, text, text, integer, text, text, boolean), '
                       'sidecar.watch(regclass, text, text, text, text, integer, text, text, boolean) to %s', granted.role);
    end loop;
end $$;
drop function sidecar.former_watch(regclass, text[], text, text, text, integer, text, text, boolean, text[]);
drop function sidecar.former_watch(regclass, text, text, text, text, integer, text, text, boolean, text[]);
select sidecar.renew_grants();
