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

-- The rows nearest to a vector: their keys and cosine distances (0 to 2), nearest first. Through the index, which goes on
-- until it has found k rows. `query_vector` is a vector's text, '[0.1, …]', so that this works wherever pgvector lives.
create or replace function sidecar.search(relation regclass, query_vector text, target text default null, k integer default 10)
returns table (key jsonb, distance double precision)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    former_scan constant text := coalesce(current_setting('hnsw.iterative_scan', true), 'off');
    w sidecar.watches := sidecar.need_watch(relation, target);
    ext text := quote_ident(sidecar.vector_schema());
    type text := format('%s.%s(%s)', ext, case w.index_kind when 'halfvec' then 'halfvec' else 'vector' end, w.dimensions);
    measure text := format('h.%I%s operator(%s.<=>) $1::%s', w.target, case w.index_kind when 'halfvec' then '::' || type else '' end, ext, type);
begin
    if search.k is null or search.k < 1 then
        raise exception 'k is %', coalesce(search.k::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Say how many rows you want, for example 10.';
    end if;
    -- Not as a setting of the function: a role that is no superuser could not restore it from a dump.
    perform set_config('hnsw.iterative_scan', 'strict_order', true);
    return query execute format('select jsonb_build_object(%s), (%s)::float8 from %s h where h.%I is not null%s order by %s limit $2',
        sidecar.for_each_key(w.key_columns, null, '%2$L, h.%2$I'), measure, coalesce(w.companion, w.relation), w.target,
        case when w.companion is not null then format(' and exists (select from %s t where %s)', w.relation,
            sidecar.for_each_key(w.key_columns, null, 't.%2$I = h.%2$I', ' and ')) else '' end, measure)
        using query_vector, k;
    perform set_config('hnsw.iterative_scan', former_scan, true);
end $$;

select set_config('search_path', 'pg_catalog, ' || quote_ident(sidecar.vector_schema()), true);

-- The rows of a watched table that are near a vector, or match a text, best first.
--   relation, target  the watch; target may be left out where the table has one
--   query_vector      of a text or a picture, as the sidecar's REST service gives it; NULL: full text only
--   query_text        in the syntax of web search engines; blank, or stop words only: vectors only
--   document          a tsvector column, or text columns; unset: the watch's own text columns
--   filter            column → value, such as {"tenant": 7}
--   candidates        how many rows each side proposes; unset: four times k, at least 100
-- A row gets weight / (rrf_constant + rank) from each side; `distance` is the cosine distance, NULL where only its text matched.
create or replace function sidecar.hybrid_search(
    relation regclass, query_vector vector, query_text text, target text default null, document text[] default null,
    k integer default 10, filter jsonb default '{}', config regconfig default 'pg_catalog.english', candidates integer default null,
    rrf_constant integer default 60, vector_weight double precision default 1, text_weight double precision default 1)
returns table (key jsonb, score double precision, vector_rank bigint, text_rank bigint, distance double precision)
language plpgsql stable rows 10 set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
    former_scan constant text := coalesce(current_setting('hnsw.iterative_scan', true), 'off');
    w constant sidecar.watches := sidecar.need_watch(relation, target);
    words tsquery := websearch_to_tsquery(config, coalesce(query_text, ''));
begin
    if k < 0 or candidates < 1 or rrf_constant < 0 then
        raise exception 'k must be 0 or more, candidates 1 or more, rrf_constant 0 or more' using errcode = 'invalid_parameter_value',
            hint = format('They are %s, %s and %s.', k, coalesce(candidates::text, 'unset'), rrf_constant);
    elsif w.kind <> 'text' and document is null then
        raise exception 'target % is made of pictures, which have no text to match', quote_literal(w.target)
            using errcode = 'invalid_parameter_value', hint = 'Name text columns of the same table: document => array[''title''].';
    end if;
    if numnode(words) = 0 then
        words := null;
    end if;
    -- Not as a setting of the function: a role that is no superuser could not restore it from a dump.
    perform set_config('hnsw.iterative_scan', 'strict_order', true);
    return query execute sidecar.hybrid_statement(w, sidecar.search_document(relation, coalesce(document, w.source), config),
                                                  sidecar.search_condition(filter))
        using query_vector, words, coalesce(candidates, greatest(4 * k, 100)), rrf_constant, vector_weight, text_weight, k;
    perform set_config('hnsw.iterative_scan', former_scan, true);
end $$;

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
