-- The index of a watch: which one exists, and the statements that are left to build it.

-- The index that the documented query of a watch uses, valid or not; a valid one if there are several.
create or replace function sidecar_internal.find_index(vector_table regclass, target text, out index regclass, out valid boolean)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select i.index, i.valid
        from sidecar_internal.watches w cross join lateral sidecar_internal.usable_indexes(w, find_index.vector_table) i
        where coalesce(w.companion, w.relation) = find_index.vector_table and w.target = find_index.target
        order by i.valid desc, i.index limit 1;
$$;

-- All statements that are left to build the index, as one script for psql. NULL if nothing is left to do.
create or replace function sidecar_internal.index_statement(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(s.step, E';\n' order by s.number) from sidecar_internal.index_steps(w) with ordinality s(step, number);
$$;

-- Watches whose index is being built, as an object: watch id -> progress. A role that may not see the progress of others sees
-- that a sidecar holds the advisory lock of the build. For all watches at once: reading pg_locks for each watch would take
-- quadratic time.
create or replace function sidecar_internal.running_builds() returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_object_agg(b.watch_id, b.build), '{}') from (
        select w.id as watch_id, 'building' as build from sidecar_internal.watches w
            join pg_locks l on l.locktype = 'advisory' and l.objsubid = 1 and l.granted
                and l.database = (select d.oid from pg_database d where d.datname = current_database())
                and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('sidecar.index.' || w.id, 0)
            where not exists (select from sidecar.index_builds p where p.watch_id = w.id)
        union all
        select p.watch_id, min(format('building: %s %s%%', p.phase, p.percent)) from sidecar.index_builds p group by p.watch_id) b;
$$;

-- 'products_photo_embedding_hnsw_1', or why there is none. Then, in brackets, former ones that are still maintained. `builds` is
-- what sidecar_internal.running_builds() returns.
create or replace function sidecar_internal.index_of(w sidecar_internal.watches, builds jsonb) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    found record;
    tree record;
    build constant text := builds->>w.id::text;
    failure constant text := sidecar_internal.index_failure_of(w);
    former constant text := (select string_agg(f.index::text, ', ' order by f.index::text) from sidecar_internal.former_indexes(w) f);
    state text := 'none';
begin
    if w.index_kind <> 'none' then
        select u.index, u.valid into found from sidecar_internal.usable_indexes(w, coalesce(w.companion, w.relation)) u
            order by u.valid desc, u.index limit 1;
        if found.valid then
            state := found.index::text;
        else
            tree := sidecar_internal.count_leaf_indexes(w);
            state := case when build is not null then build when failure is not null then 'building failed: ' || failure
                when tree.leaves > 0 and found.index is not null then format('%s of %s partitions have it', tree.built, tree.leaves)
                when found.index is null then 'not built yet'
                when sidecar_internal.is_worked_on(coalesce(w.companion, w.relation)) then 'building: by another session'
                else 'invalid: ' || found.index end;
        end if;
    end if;
    if former is null then
        return state;
    end if;
    return format('%s (to be dropped: %s%s)', state, former, case when state !~ '^building' then '; failed: ' || failure end);
end $$;

create or replace function sidecar_internal.index_of(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$ select sidecar_internal.index_of(w, sidecar_internal.running_builds()) $$;

-- Why the last attempt to build the index failed, and when the next one is due. NULL if none failed.
create or replace function sidecar_internal.index_failure_of(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('%s (next try %s)', f.message, case
            when n.s <= 0 then 'now' when n.s < 90 then format('in %s s', n.s) else format('in %s min', n.s / 60) end)
        from sidecar_internal.index_failures f
        cross join lateral (select ceil(extract(epoch from f.next_try_at - statement_timestamp()))::integer as s) n
        where f.watch_id = w.id;
$$;

-- The index failure for sidecar.status: 'building failed: why (next try in 4 min)'. NULL if the index is valid or nothing
-- failed.
create or replace function sidecar_internal.index_trouble(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select 'building failed: ' || sidecar_internal.index_failure_of(w)
        where w.index_kind <> 'none' and exists (select from sidecar_internal.index_failures f where f.watch_id = w.id)
          and (sidecar_internal.find_index(coalesce(w.companion, w.relation), w.target)).valid is not true;
$$;

-- The indexes on `vector_table` that the documented query of a watch can use, of its method and with the options that it asks for; others they
-- may have as well. `parent` is the index that each is a partition of.
create or replace function sidecar_internal.usable_indexes(w sidecar_internal.watches, vector_table regclass, out index regclass, out valid boolean, out parent regclass)
returns setof record language sql stable set search_path = pg_catalog, pg_temp as $$
    select i.indexrelid, i.indisvalid, h.inhparent
        from pg_index i
        join pg_class c on c.oid = i.indexrelid
        join pg_am am on am.oid = c.relam and am.amname = w.index_method
        join pg_opclass o on o.oid = i.indclass[0] and o.opcname = w.index_kind || '_cosine_ops'
        join pg_attribute a on a.attrelid = i.indrelid and a.attname = w.target
        join pg_attribute ia on ia.attrelid = i.indexrelid and ia.attnum = 1 and ia.atttypmod in (w.dimensions, -1)
        left join pg_inherits h on h.inhrelid = i.indexrelid
        where i.indrelid = usable_indexes.vector_table and i.indpred is null and coalesce(c.reloptions, '{}') @> w.index_options
          and exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                      and d.refobjid = i.indrelid and d.refobjsubid = a.attnum);
$$;

-- True if another session builds, rebuilds or vacuums in `vector_table` (SHARE UPDATE EXCLUSIVE). An invalid index may then be a build
-- in progress, and a DROP would wait for its end and destroy the result. Read from pg_locks, because the progress of builds is
-- hidden from roles with few rights.
create or replace function sidecar_internal.is_worked_on(vector_table regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from pg_locks l where l.locktype = 'relation' and l.relation = is_worked_on.vector_table and l.granted
                   and l.database = (select d.oid from pg_database d where d.datname = current_database())
                   and l.mode = 'ShareUpdateExclusiveLock' and l.pid <> pg_backend_pid());
$$;

-- The name of the index: products_photo_embedding_hnsw_1, by method and watch. If that is too long, and so might collide for another partition, or
-- is taken by anything but `replaced`, it contains the table's OID; and a number, if that is taken, too.
create or replace function sidecar_internal.index_name(w sidecar_internal.watches, vector_table regclass, replaced regclass) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    class record;
    ending constant text := format('_%s_%s', w.index_method, w.id);
    suffix text := ending;
    stem text;
    cut text;
    number integer := 1;
begin
    select c.relname || '_' || w.target as stem, n.nspname into class
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = vector_table;
    stem := class.stem;
    if octet_length(stem || suffix) > 63 or to_regclass(format('%I.%I', class.nspname, stem || suffix)) <> replaced then
        suffix := format('_%s%s', to_hex(vector_table::oid::bigint), ending);
    end if;
    loop
        cut := stem;
        while octet_length(cut || suffix) > 63 loop
            cut := left(cut, -1);
        end loop;
        exit when coalesce(to_regclass(format('%I.%I', class.nspname, cut || suffix)) in (replaced), true);
        number := number + 1;
        suffix := format('_%s_%s%s', to_hex(vector_table::oid::bigint), number, ending);
    end loop;
    return cut || suffix;
end $$;

-- The indexes that the sidecar created for a watch (their names end in method and id) and that serve it no longer: of another method,
-- type or number of dimensions, with other options, or left invalid by a build or REINDEX beside a valid one. Every write maintains them. Users'
-- own indexes are not included. Indexes of partitions go with the index they are attached to. In PL/pgSQL, which caches its
-- plans: status calls this for every watch.
create or replace function sidecar_internal.former_indexes(w sidecar_internal.watches, out index regclass, out statement text)
returns setof record language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    top constant regclass := coalesce(w.companion, w.relation);
    vector_tables regclass[] := array[top];
    vector_table regclass;
    ours oid[] := '{}';
begin
    if (select c.relkind = 'p' from pg_class c where c.oid = top) then
        vector_tables := array(select t.home from sidecar_internal.tree_of(top) t);
    end if;
    -- First by our names, through an index, table by table: joining the rest to all of pg_class would take 2 ms a watch.
    foreach vector_table in array vector_tables loop
        ours := ours || array(select i.indexrelid from pg_index i where i.indrelid = vector_table and (
            select sidecar_internal.is_our_index(w, c.relname, am.amname) from pg_class c join pg_am am on am.oid = c.relam where c.oid = i.indexrelid));
    end loop;
    if cardinality(ours) = 0 then
        return;
    end if;
    return query
        select i.indexrelid::regclass,
               format(case when c.relkind = 'I' then 'drop index if exists %s' else 'drop index concurrently if exists %s' end,
                      i.indexrelid::regclass)
            from pg_index i
            join pg_class c on c.oid = i.indexrelid
            join pg_am am on am.oid = c.relam
            join pg_opclass o on o.oid = i.indclass[0] and o.opcname in ('halfvec_cosine_ops', 'vector_cosine_ops')
            join pg_attribute a on a.attrelid = i.indrelid and a.attname = w.target
            join pg_attribute ia on ia.attrelid = i.indexrelid and ia.attnum = 1
            where i.indexrelid = any (ours) and i.indpred is null
              and exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                          and d.refobjid = i.indrelid and d.refobjsubid = a.attnum)
              and not exists (select from pg_inherits h where h.inhrelid = i.indexrelid)
              -- Without a function call for the usual index, which is in use: status does this for every watch.
              and (o.opcname <> w.index_kind || '_cosine_ops' or ia.atttypmod not in (w.dimensions, -1)
                   or am.amname <> w.index_method or not coalesce(c.reloptions, '{}') @> w.index_options
                   or (not i.indisvalid and exists (select from sidecar_internal.usable_indexes(w, i.indrelid) u where u.valid)))
              and (i.indisvalid or c.relkind = 'I' or not sidecar_internal.is_worked_on(i.indrelid))
            order by i.indexrelid::regclass::text;
end $$;

-- Called by watch: prints a NOTICE for each index that the change leaves without use.
create or replace function sidecar_internal.report_former_indexes(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    former record;
begin
    for former in select * from sidecar_internal.former_indexes(w) loop
        raise notice 'index % serves this watch no longer; a running sidecar that may act for the owner drops it%', former.index,
                case when w.index_kind <> 'none' then ' when the new one is built' else '' end
            using hint = former.statement || ';';
    end loop;
end $$;

-- What the index of a watch is on, as create index takes it: '((e::public.halfvec(1152)) public.halfvec_cosine_ops)'. NULL if no index
-- is wanted. Where the method is not installed, or no longer, the class is named as if it were pgvector's: the build says what is missing.
create or replace function sidecar_internal.index_key(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when w.index_kind = w.storage then format('(%I %s)', w.target, v.class)
                when w.index_kind = 'halfvec' then format('((%I::%s.halfvec(%s)) %s)', w.target, v.ext, w.dimensions, v.class) end
        from (select e.ext, coalesce(sidecar_internal.cosine_class(w.index_method, w.index_kind), format('%s.%s_cosine_ops', e.ext, w.index_kind)) as class
              from (select quote_ident(sidecar_internal.vector_schema()) as ext) e) v;
$$;

-- The statements that are left for one valid index and no other of ours, in order; the index keeper runs them one by one.
-- None if the table is gone. A former index is dropped last, once its replacement exists. In a partition tree each inner table
-- gets an index, which later partitions inherit, and each leaf gets one that is built concurrently and attached; when the last
-- one is attached, the indexes above become valid.
create or replace function sidecar_internal.index_steps(w sidecar_internal.watches) returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    top constant regclass := coalesce(w.companion, w.relation);
    key constant text := sidecar_internal.index_key(w);
    indexes jsonb := '{}';  -- table -> its index, quoted
    t record;
    i record;
    name text;
begin
    if key is null or exists (select from sidecar_internal.usable_indexes(w, top) u where u.valid) then
        return query select f.statement from sidecar_internal.former_indexes(w) f;
        return;
    end if;
    for t in select x.*, (select c.relnamespace::regnamespace::text from pg_class c where c.oid = x.home) as namespace
             from sidecar_internal.tree_of(top) x order by x.level, x.home loop
        -- A user's own invalid index is not dropped: ours is built beside it.
        select u.index, u.valid, t.parent is not null and u.parent is not null as is_attached into i
            from sidecar_internal.usable_indexes(w, t.home) u
            where u.valid or u.parent is not null or not t.is_leaf
               or sidecar_internal.is_our_index(w, (select c.relname from pg_class c where c.oid = u.index), w.index_method)
            order by u.parent is not null desc, u.valid desc, u.index limit 1;
        name := case when i.index is not null then i.index::text end;
        if t.is_leaf and not i.valid and sidecar_internal.is_worked_on(t.home) then
            return; -- The later steps have to wait for it.
        end if;
        if t.is_leaf and not i.valid and i.is_attached then
            return next 'reindex index concurrently ' || name;
        elsif i.index is null or (t.is_leaf and not i.valid) then
            if i.index is not null then
                return next 'drop index concurrently if exists ' || name;
            end if;
            name := sidecar_internal.index_name(w, t.home, coalesce(i.index, 0::oid::regclass));
            return next format(case when t.is_leaf then 'create index concurrently %I on %s using %I %s%s'
                               else 'create index %I on only %s using %I %s%s' end, name, t.home, w.index_method, key,
                               sidecar_internal.options_to_build(w, t.home));
            name := format('%s.%I', t.namespace, name);
        end if;
        if t.parent is not null and not coalesce(i.is_attached, false) then
            return next format('alter index %s attach partition %s', indexes->>t.parent::oid::text, name);
        end if;
        indexes := indexes || jsonb_build_object(t.home::oid::text, name);
    end loop;
    return query select f.statement from sidecar_internal.former_indexes(w) f;
end $$;

-- The number of leaves of a partition tree, and of those that have their index. NULL for an ordinary table.
create or replace function sidecar_internal.count_leaf_indexes(w sidecar_internal.watches, out leaves bigint, out built bigint)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select nullif(count(*), 0), count(*) filter (where exists (select from sidecar_internal.usable_indexes(w, t.home) u where u.valid))
        from sidecar_internal.tree_of(coalesce(w.companion, w.relation)) t where t.is_leaf and t.parent is not null;
$$;

-- The bytes of memory that building an index takes. HNSW (m = 16), measured: the vectors plus 720 bytes per row. IVFFlat, as pgvector
-- computes it: 50 samples a list, and their distances to all lists. NULL: unknown.
create or replace function sidecar_internal.graph_bytes(w sidecar_internal.watches, rows bigint) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case w.index_method when 'hnsw' then v.bytes * rows + 720 * rows
                               when 'ivfflat' then (greatest(50 * l.lists, 10000) * (v.bytes + 4 * l.lists) + 2 * v.bytes * l.lists + 4 * l.lists * l.lists)::bigint end
        from (select case w.index_kind when 'halfvec' then 2 when 'vector' then 4 end::bigint * w.dimensions as bytes) v
        cross join (select coalesce((select sidecar_internal.read_number(substr(o.option, 7))::bigint from unnest(w.index_options) o(option) where o.option like 'lists=%' limit 1),
                                    sidecar_internal.ivfflat_lists(rows)) as lists) l;
$$;
