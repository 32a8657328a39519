-- sidecar.recall: how much of an exact search the index finds.

-- Up to `sample` vectors of a watch as texts, from all over its table.
create or replace function sidecar_internal.sample_vectors(w sidecar_internal.watches, sample integer) returns setof text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    vector_table constant regclass := coalesce(w.companion, w.relation);
    rows constant bigint := greatest((sidecar_internal.count_rows(vector_table, false)).n, 1);
begin
    -- Twice as many are drawn as are wanted, since some rows have no vector; small tables are drawn whole.
    return query execute format('select x.v from (select sidecar_internal.exactly(null::%s, h.%I)::text as v from %s h tablesample bernoulli (%s)
                                                  where h.%2$I is not null) x order by random() limit $1',
        sidecar_internal.stored_type(w), w.target, vector_table, least(100, 200.0 * greatest(sample, 100) / rows)) using sample;
end $$;

-- The distances of the k rows that a search finds, nearest first: exactly, or in the order of the index, which may round vectors.
-- Either way they are those of the stored vectors.
create or replace function sidecar_internal.nearest_distances(w sidecar_internal.watches, through_index boolean, condition text, query_vector text, k integer)
returns double precision[] language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    compared constant record := sidecar_internal.compared_type(w);
    stored constant text := format('%s.%s(%s)', ext, w.storage, w.dimensions);
    type constant text := case when through_index then format('%s.%s(%s)', ext, compared.name, w.dimensions) else stored end;
    vector constant text := format('sidecar_internal.exactly(null::%s, %s.%I)', sidecar_internal.stored_type(w), case when w.companion is null then 't' else 'h' end, w.target);
    tables constant text := case
        when w.companion is null then w.relation || ' t'
        when condition = '' then w.companion || ' h'
        else format('%s h join %s t on %s', w.companion, w.relation, sidecar_internal.for_each_key(
             sidecar_internal.exact_keys(w, w.companion, 'h'), sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and ')) end;
    distances double precision[];
begin
    execute format('select array(select (x.v operator(%1$s.<=>) $1::%2$s)::float8 from (
                        select %3$s as v from %4$s where %3$s is not null%5$s order by %3$s%6$s operator(%1$s.<=>) $1::%7$s limit $2) x order by (x.v operator(%1$s.<=>) $1::%2$s) + 0)',
        ext, stored, vector, tables, condition, case when through_index and compared.is_cast then '::' || type else '' end, type)
        into distances using query_vector, k;
    return distances;
end $$;

-- Of the distances of an exact search, the share that a search through the index found, without the query itself, which is a row.
create or replace function sidecar_internal.found_share(exact double precision[], near double precision[], k integer) returns double precision
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if exact[1] < 1e-6 then
        exact := exact[2:];
        near := case when near[1] < 1e-6 then near[2:] else near end;
    end if;
    exact := exact[1:k];
    -- Rounding may put two rows of one distance in another order, or into another place.
    return (select count(*) from unnest(near[1:k]) f(distance) where f.distance <= exact[cardinality(exact)] + 1e-6)::float8
           / nullif(cardinality(exact), 0);
end $$;

-- The value of hnsw.ef_search, or of another setting of pgvector that is a number, that sessions of this database have, unless their role
-- has its own or they set it. NULL for none.
create or replace function sidecar_internal.usual_setting(name text) returns integer
language sql stable strict set search_path = pg_catalog, pg_temp as $$
    select coalesce(
        (select split_part(c.setting, '=', 2)::integer from pg_db_role_setting d cross join unnest(d.setconfig) c(setting)
         where d.setrole = 0 and d.setdatabase in (0, (select b.oid from pg_database b where b.datname = current_database()))
           and c.setting ~ '=\d+$' and split_part(c.setting, '=', 1) = name order by d.setdatabase = 0 limit 1),
        sidecar_internal.session_setting(name)::integer);
$$;

-- For sidecars of the version before.
create or replace function sidecar_internal.usual_ef_search() returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$ select sidecar_internal.usual_setting('hnsw.ef_search') $$;

-- The values of its setting with which the index of a watch is measured from time to time: the usual one among them. NULL if its method has
-- no such setting.
create or replace function sidecar_internal.values_to_measure(w sidecar_internal.watches) returns integer[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    usual integer;
    advised integer;
begin
    if sidecar_internal.scan_setting(w) is null then
        return null;
    end if;
    usual := sidecar_internal.usual_setting(sidecar_internal.scan_setting(w));
    if w.index_method = 'hnsw' then
        return array(select distinct e from unnest(array[40, 100, 200, 400, usual]) e order by e);
    end if;
    advised := ceil(sqrt(coalesce(sidecar_internal.lists_of(w), 100)));
    return array(select distinct least(e, 32768) from unnest(array[(advised + 1) / 2, advised, 2 * advised, 4 * advised, usual]) e order by 1);
end $$;

-- What identifies the index that a watch is searched through: another one after a REINDEX.
create or replace function sidecar_internal.measured_index(w sidecar_internal.watches, out id oid, out file oid)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select f.index::oid, pg_relation_filenode(f.index) from sidecar_internal.find_index(coalesce(w.companion, w.relation), w.target) f where f.valid;
$$;

-- The last measurements of a watch that are still true: of the present index, and of vectors of the present model. By primary key.
create or replace function sidecar_internal.recalls_of(w sidecar_internal.watches) returns setof sidecar_internal.recalls
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    present record;
begin
    -- The index is looked for only where there are measurements: status asks this for every watch.
    if exists (select from sidecar_internal.recalls r where r.watch_id = w.id) then
        select * into present from sidecar_internal.measured_index(w);
        return query select r.* from sidecar_internal.recalls r
            where r.watch_id = w.id and (r.index_id, r.index_file, r.fingerprint) is not distinct from (present.id, present.file, w.fingerprint);
    end if;
end $$;

-- The measurement that tells what a search finds which sets nothing: with the database's value of its index's setting, or the next smaller
-- value that was measured. NULL if there is none.
create or replace function sidecar_internal.usual_recall_of(w sidecar_internal.watches) returns sidecar_internal.recalls
language sql stable set search_path = pg_catalog, pg_temp as $$
    select r from sidecar_internal.recalls_of(w) r where r.ef_search <= coalesce(sidecar_internal.usual_setting(sidecar_internal.scan_setting(w)), 0) order by r.ef_search desc limit 1;
$$;

-- Keeps what was measured, where the caller may: a sidecar's role, or the owner of the schema. Others read a NOTICE.
create or replace function sidecar_internal.keep_recall(w sidecar_internal.watches, k integer, measured jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    present constant record := sidecar_internal.measured_index(w);
begin
    if current_setting('transaction_read_only')::boolean then
        raise notice 'the figures are not kept, because this transaction is read-only';
        return;
    elsif not has_table_privilege('sidecar_internal.recalls', 'insert, update') or not has_table_privilege('sidecar_internal.recalls', 'delete') then
        raise notice 'the figures are not kept for sidecar.status, because role % may not write them', current_user
            using hint = 'A role with sidecar.grant_worker may.';
        return;
    end if;
    delete from sidecar_internal.recalls r
        where r.watch_id = w.id and (r.k, r.index_id, r.index_file, r.fingerprint) is distinct from (keep_recall.k, present.id, present.file, w.fingerprint);
    insert into sidecar_internal.recalls (watch_id, ef_search, k, recall, lowest, queries, index_ms, exact_ms, index_id, index_file, fingerprint)
        select w.id, s.ef, keep_recall.k, s.recall, s.lowest, s.queries, s.index_ms, s.exact_ms, present.id, present.file, w.fingerprint
            from sidecar_internal.summarized_recall(measured) s where s.queries > 0
        on conflict (watch_id, ef_search) do update
            set (k, recall, lowest, queries, index_ms, exact_ms, measured_by, measured_at) =
                (excluded.k, excluded.recall, excluded.lowest, excluded.queries, excluded.index_ms, excluded.exact_ms, excluded.measured_by, excluded.measured_at);
end $$;

-- Single queries, [{ef, share, index_ms, exact_ms}], as one line for each value of the index's setting.
create or replace function sidecar_internal.summarized_recall(measured jsonb)
returns table (ef integer, recall double precision, lowest double precision, queries bigint, index_ms double precision, exact_ms double precision)
language sql immutable rows 5 set search_path = pg_catalog, pg_temp as $$
    select m.ef, avg(m.share), min(m.share), count(m.share),
           percentile_cont(0.5) within group (order by m.index_ms), percentile_cont(0.5) within group (order by m.exact_ms)
        from jsonb_to_recordset(measured) m(ef integer, share double precision, index_ms double precision, exact_ms double precision)
        group by m.ef order by m.ef;
$$;

-- The share of the k nearest rows that a search through the index finds, with rows of the table as queries: one line for each value
-- in `ef_search`, the session's if none is given: of hnsw.ef_search, and of ivfflat.probes for an IVFFlat index. Other methods are measured as the
-- session has set them, once, with ef = 0. Ends with the first query that is done after max_s seconds.
-- Without a filter the lines are kept, for sidecar.status and `sidecar doctor`: one value of a filter tells nothing of others.
create or replace function sidecar.recall(
    relation regclass, target text default null, k integer default 10, sample integer default 200, filter jsonb default '{}',
    ef_search integer[] default null, max_s double precision default 60)
returns table (ef integer, recall double precision, lowest double precision, queries bigint, index_ms double precision, exact_ms double precision)
language plpgsql volatile rows 5 set search_path = pg_catalog, pg_temp as $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    condition constant text := sidecar_internal.filter_condition(w, filter, 't');
    setting constant text := sidecar_internal.scan_setting(w);
    iteration constant text := case when setting is not null then w.index_method || '.iterative_scan' end;
    former_settings constant jsonb := (select jsonb_object_agg(s.name, sidecar_internal.session_setting(s.name))
                                       from unnest(array['enable_indexscan', 'enable_seqscan', iteration, setting]) s(name) where s.name is not null);
    efs constant integer[] := case when setting is null then array[0] else coalesce(recall.ef_search, array[(former_settings->>setting)::integer]) end;
    deadline constant timestamptz := clock_timestamp() + make_interval(secs => max_s);
    index_state constant text := sidecar_internal.index_of(w);
    vector text;
    exact double precision[];
    near double precision[];
    began timestamptz;
    took_ms double precision;
    measured jsonb := '[]';
begin
    if k is null or k not between 1 and 1000 or sample is null or sample not between 1 and 100000 then
        raise exception 'k is % and sample is %', coalesce(k::text, 'NULL'), coalesce(sample::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'k may be 1 to 1000, sample 1 to 100000.';
    elsif not exists (select from sidecar_internal.usable_indexes(w, coalesce(w.companion, w.relation)) u where u.valid) then
        raise exception 'there is no index on %.% to measure: %', w.relation, quote_ident(w.target), index_state
            using errcode = 'object_not_in_prerequisite_state', hint = 'Without an index every search is exact.';
    end if;
    perform set_config(iteration, case w.index_method when 'hnsw' then 'strict_order' else 'relaxed_order' end, true) where iteration is not null;
    for vector in select v from sidecar_internal.sample_vectors(w, sample) v loop
        perform set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'on', true);
        began := clock_timestamp();
        exact := sidecar_internal.nearest_distances(w, false, condition, vector, k + 1);
        took_ms := 1000 * extract(epoch from clock_timestamp() - began);
        perform set_config('enable_indexscan', 'on', true), set_config('enable_seqscan', 'off', true);
        foreach ef in array efs loop
            perform set_config(setting, ef::text, true) where setting is not null;
            began := clock_timestamp();
            near := sidecar_internal.nearest_distances(w, true, condition, vector, k + 1);
            measured := measured || jsonb_build_object('ef', ef, 'share', sidecar_internal.found_share(exact, near, k),
                'index_ms', 1000 * extract(epoch from clock_timestamp() - began), 'exact_ms', took_ms);
        end loop;
        exit when clock_timestamp() > deadline;
    end loop;
    perform sidecar_internal.apply_settings(former_settings);
    if filter = '{}' then
        perform sidecar_internal.keep_recall(w, k, measured);
    end if;
    return query select * from sidecar_internal.summarized_recall(measured);
end $$;
comment on function sidecar.recall is
    'The share of the k nearest rows that a search through the index finds, measured against exact searches with rows of the table '
    'as queries, for each value of hnsw.ef_search or ivfflat.probes; with the median time of both. Without a filter the result is kept: '
    'sidecar.measured_recall.';

-- Statements that make new sessions search with this value of hnsw.ef_search or ivfflat.probes: for the database, and for roles with a lower
-- value of their own. The first one has the server load pgvector, because only a superuser may set what it does not know.
create or replace function sidecar_internal.scan_setting_statement(setting text, value integer) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format(E'select ''[1]''::%I.vector;\nalter database %I set %s = %s;', sidecar_internal.vector_schema(), current_database(), setting, value)
           || coalesce((select string_agg(format(E'\nalter role %I%s set %s = %s;', r.rolname,
                               case when d.setdatabase <> 0 then format(' in database %I', current_database()) end, setting, value), '' order by r.rolname)
                        from pg_db_role_setting d join pg_roles r on r.oid = d.setrole cross join unnest(d.setconfig) c(setting)
                        where d.setdatabase in (0, (select b.oid from pg_database b where b.datname = current_database()))
                          and c.setting ~ '=\d+$' and split_part(c.setting, '=', 1) = scan_setting_statement.setting
                          and split_part(c.setting, '=', 2)::integer < value), '');
$$;

-- Statements that replace the index that was measured by one with twice its connections; an IVFFlat index by one whose lists are those of
-- the present rows. Sidecars keep it: any index of the method that has the options of the watch will do. Of a watch that asks for such an
-- option itself, the call that asks for another value, upon which a sidecar builds that index.
create or replace function sidecar_internal.larger_index_statement(w sidecar_internal.watches, index regclass) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    vector_table constant regclass := coalesce(w.companion, w.relation);
    class constant pg_class := (select c from pg_class c where c.oid = index);
    mode constant text := case when class.relkind = 'I' then '' else 'concurrently ' end;
    m integer;
    ef_construction integer;
    wanted text[];
    kept text[];
begin
    if w.index_method = 'ivfflat' then
        wanted := array['lists=' || sidecar_internal.ivfflat_lists((sidecar_internal.count_rows(vector_table, false)).n)];
    else
        select coalesce(max(sidecar_internal.read_number(o.option_value)) filter (where o.option_name = 'm'), 16),
               coalesce(max(sidecar_internal.read_number(o.option_value)) filter (where o.option_name = 'ef_construction'), 64) into m, ef_construction
            from pg_options_to_table(class.reloptions) o;
        m := least(2 * m, 100);
        wanted := array['m=' || m, 'ef_construction=' || least(greatest(2 * ef_construction, 4 * m), 1000)];
    end if;
    kept := array(select o.option from unnest(w.index_options) with ordinality o(option, n)
                  where split_part(o.option, '=', 1) not in (select split_part(x.option, '=', 1) from unnest(wanted) x(option)) order by o.n);
    if kept <> w.index_options then
        w.index_options := wanted || kept;
        return regexp_replace(sidecar_internal.watch_statement(w), '\)$', ', replace => true);');
    end if;
    return format(E'create index %son %s using %I %s%s;\ndrop index %s%s;', mode, vector_table, w.index_method, sidecar_internal.index_key(w),
                  sidecar_internal.index_options(wanted || kept), mode, index);
end $$;
