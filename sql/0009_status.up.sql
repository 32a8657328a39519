-- The views sidecar.status and sidecar.failures, and status_exact(table).

-- Rows of a table: counted where that is cheap or asked for, else estimated as the planner does: rows a page at the last
-- ANALYZE, times the pages of now. Of a partitioned table the partitions count.
create function sidecar.count_rows(relation regclass, exact boolean, out n bigint, out estimated boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    page_bytes constant double precision := current_setting('block_size')::integer;
begin
    with leaf as (
        select count_rows.relation::oid as oid union select p.relid from pg_partition_tree(count_rows.relation) p where p.isleaf
    ), size as (
        select c.reltuples, c.relpages, pg_relation_size(c.oid) / page_bytes as pages
        from leaf join pg_class c using (oid) where c.relkind = 'r'
    )
    select sum(s.reltuples * s.pages / greatest(s.relpages, 1))::bigint,
           sum(s.pages) * page_bytes > 16 * 1024 * 1024 and bool_and(s.reltuples >= 0 and (s.relpages > 0 or s.pages = 0))
        into n, estimated from size s;
    estimated := coalesce(estimated, false) and not exact;
    if not estimated then
        execute format('select count(*) from %s', relation) into n;
    end if;
end $$;

-- The HNSW index that the documented query of a watch uses, valid or not. Prefers a valid one.
create function sidecar.find_index(home regclass, target text, out index regclass, out valid boolean)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select i.indexrelid::regclass, i.indisvalid
        from sidecar.watches w
        join pg_index i on i.indrelid = home and i.indpred is null
        join pg_class c on c.oid = i.indexrelid
        join pg_am am on am.oid = c.relam and am.amname = 'hnsw'
        join pg_opclass o on o.oid = i.indclass[0] and o.opcname = w.index_kind || '_cosine_ops'
        join pg_attribute a on a.attrelid = i.indrelid and a.attname = find_index.target
        where coalesce(w.companion, w.relation) = home and w.target = find_index.target
          and exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                      and d.refobjid = home and d.refobjsubid = a.attnum)
        order by i.indisvalid desc, i.indexrelid limit 1;
$$;

-- 'create index concurrently … using hnsw …' for a watch: what the index keeper runs, and status prints. NULL for
-- 'none', and where the table is gone.
create function sidecar.index_statement(w sidecar.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    home regclass := coalesce(w.companion, w.relation);
    suffix text := '_hnsw_' || w.id;
    stem text := (select c.relname || '_' || w.target from pg_class c where c.oid = home);
    ext text := quote_ident(sidecar.vector_schema());
begin
    if w.index_kind = 'none' or stem is null then
        return null;
    end if;
    while octet_length(stem || suffix) > 63 loop
        stem := left(stem, -1);
    end loop;
    return format('create index concurrently %I on %s using hnsw ', stem || suffix, home) || case w.index_kind
        when 'halfvec' then format('((%I::%s.halfvec(%s)) %s.halfvec_cosine_ops)', w.target, ext, w.dimensions, ext)
        when 'vector' then format('(%I %s.vector_cosine_ops)', w.target, ext)
        end;
end $$;

-- The nearest-neighbour query that the index serves. $1 is the query vector.
create function sidecar.search_statement(w sidecar.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    ext text := quote_ident(sidecar.vector_schema());
    type text := case when ext <> 'public' then ext || '.' else '' end
                 || case w.index_kind when 'halfvec' then 'halfvec' else 'vector' end || format('(%s)', w.dimensions);
    operator text := case when ext <> 'public' then format('operator(%s.<=>)', ext) else '<=>' end;
    distance text := format('%s%I%s %s $1::%s', case when w.companion is not null then 'e.' else '' end, w.target,
                            case w.index_kind when 'halfvec' then '::' || type else '' end, operator, type);
begin
    if w.companion is null then
        return format('select * from %s order by %s limit 10', w.relation, distance);
    end if;
    return format('select t.* from %s e join %s t using (%s) order by %s limit 10', w.companion, w.relation,
                  sidecar.for_each_key(w.key_columns, null, '%2$I'), distance);
end $$;

-- What the watch is doing, or why it is not.
create function sidecar.state_of(w sidecar.watches, pending bigint) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    scan text := (select s.purpose from sidecar.scans s where s.watch_id = w.id and s.finished_at is null
                  and s.purpose in ('clear', 'backfill') order by s.purpose desc limit 1);
    running text := (select string_agg(distinct format('%s (%s)', s.model, s.fingerprint), ', ') from sidecar.sidecars s
                     where s.seen_at > clock_timestamp() - interval '30 s');
    fits boolean := exists (select from sidecar.sidecars s where s.seen_at > clock_timestamp() - interval '30 s'
                            and s.dimensions = w.dimensions
                            and case when w.fingerprint is not null then s.fingerprint = w.fingerprint
                                else w.model is null or w.model in (s.model, s.fingerprint) end);
    fault text := sidecar.fault_of(w);
begin
    return case
        when fault is not null then 'broken: ' || fault
        when w.paused then 'paused'
        when running is null then 'no sidecar is running'
        when not fits then format('waiting for a sidecar with %s and %s dimensions; running: %s',
            coalesce('fingerprint ' || w.fingerprint, 'model ' || w.model, 'any model'), w.dimensions, running)
        when scan = 'clear' then 'clearing old vectors'
        when scan = 'backfill' then 'backfilling'
        when pending > 0 then 'catching up'
        else 'up to date' end;
end $$;

-- Why the sidecar leaves a watch alone; NULL if it does not.
create function sidecar.fault_of(w sidecar.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    forget text := format('select sidecar.unwatch(%s, %L)', w.relation::oid, w.target);
begin
    if not exists (select from pg_class c where c.oid = w.relation) then
        return 'the table is gone: ' || forget;
    elsif w.companion is not null and not exists (select from pg_class c where c.oid = w.companion) then
        return 'the companion table is gone: call sidecar.watch again with replace => true';
    elsif exists (select from sidecar.breakages b where b.watch_id = w.id) then
        return (select string_agg(distinct b.message, '; ') || ': call sidecar.watch again'
                from sidecar.breakages b where b.watch_id = w.id);
    elsif w.broken is not null then
        return w.broken || ': call sidecar.watch again';
    elsif not sidecar.triggers_fit(w) then
        return 'a trigger is missing, disabled or out of date: call sidecar.watch again';
    end if;
    return null;
end $$;

-- Of the keys in the queue: how many, how many of them have a ledger entry (they wait for an update, not for their first
-- vector), and since when the oldest waits.
create function sidecar.count_queue(w sidecar.watches, out keys bigint, out updates bigint, out oldest timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    k text := sidecar.for_each_key(w.key_columns, null, 'k%1$s');
begin
    execute format('select count(q.k1), count(l.gen), min(q.enqueued_at)
                    from (select %2$s, min(enqueued_at) as enqueued_at
                          from (select %2$s, enqueued_at from sidecar.events_%1$s
                                union all select %2$s, enqueued_at from sidecar.delayed_%1$s) e
                          group by %2$s) q
                    left join (select %2$s, gen from sidecar.ledger_%1$s where content_hash is not null) l using (%2$s)', w.id, k)
        into keys, updates, oldest;
end $$;

-- Ledger entries by what they say. The exceptions are counted by their index.
create function sidecar.count_ledger(w sidecar.watches, exact boolean, out entries bigint, out empty bigint, out failed bigint,
                                     out truncated bigint, out estimated boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    ledger regclass := format('sidecar.ledger_%s', w.id);
    tombstones bigint;
begin
    select c.n, c.estimated into entries, estimated from sidecar.count_rows(ledger, exact) c;
    execute format('select count(*) filter (where l.content_hash is null), count(*) filter (where l.content_hash = ''empty''),
                           count(*) filter (where l.content_hash = ''failed''), count(*) filter (where l.truncated)
                    from %s l where truncated or content_hash is null or octet_length(content_hash) < 32', ledger)
        into tombstones, empty, failed, truncated;
    entries := greatest(entries - tombstones, empty + failed);
end $$;

-- Rows that the ledger knows nothing of, counted one by one.
create function sidecar.count_unknown(w sidecar.watches) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    n bigint;
begin
    execute format('select count(*) from %s t
                    where not exists (select from sidecar.ledger_%s l where %s and l.content_hash is not null)',
                   w.relation, w.id, sidecar.for_each_key(w.key_columns, null, 't.%2$I = l.k%1$s', ' and ')) into n;
    return n;
end $$;

-- 'products_photo_embedding_hnsw_1', or why there is none.
create function sidecar.index_of(w sidecar.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    home regclass := coalesce(w.companion, w.relation);
    hnsw record;
    build text := (select format('building: %s %s%%', p.phase,
                                 coalesce(round(100.0 * p.blocks_done / nullif(p.blocks_total, 0)), 0))
                   from pg_stat_progress_create_index p where p.relid = home limit 1);
begin
    select f.index, f.valid into hnsw from sidecar.find_index(home, w.target) f;
    return case when w.index_kind = 'none' then 'none' when hnsw.valid then hnsw.index::text when build is not null then build
           when hnsw.index is not null then 'invalid: ' || hnsw.index else 'not built yet' end;
end $$;

create function sidecar.status_of(only_relation regclass, exact boolean) returns table (
    relation regclass, target text, kind text, source text[], companion regclass, state text,
    rows bigint, embedded bigint, pending bigint, failed bigint, empty bigint, truncated bigint, coverage numeric,
    oldest_pending interval, lag_ms double precision, index text, model text, fingerprint text, query text,
    estimated boolean, watch_id integer, index_statement text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
    counted record;
    ledger record;
    queue record;
begin
    for w in select * from sidecar.watches x
             where x.unwatched_at is null and (only_relation is null or x.relation = only_relation) order by x.id loop
        relation := w.relation; target := w.target; kind := w.kind; source := w.source; companion := w.companion;
        fingerprint := w.fingerprint; model := coalesce(w.encoder, w.model); watch_id := w.id;
        rows := null; query := null; estimated := false;
        if exists (select from pg_class c where c.oid = w.relation) then
            select c.n, c.estimated into rows, estimated from sidecar.count_rows(w.relation, exact) c;
            query := sidecar.search_statement(w);
        end if;
        ledger := sidecar.count_ledger(w, exact);
        queue := sidecar.count_queue(w);
        embedded := ledger.entries - ledger.empty - ledger.failed;
        empty := ledger.empty; failed := ledger.failed; truncated := ledger.truncated;
        -- A row that is neither in the ledger nor in the queue has still to be met by the backfill. Once that is over the
        -- queue alone knows: the difference of two estimates would never come to rest.
        pending := case when exact and rows is not null then sidecar.count_unknown(w) + queue.updates
            when exists (select from sidecar.scans s
                         where s.watch_id = w.id and s.purpose in ('clear', 'backfill') and s.finished_at is null)
                then greatest(rows - ledger.entries, queue.keys - queue.updates) + queue.updates
            else queue.keys end;
        estimated := estimated or ledger.estimated;
        oldest_pending := clock_timestamp() - queue.oldest;
        coverage := case when rows > empty then round(100.0 * least(1, embedded::numeric / (rows - empty)), 1) end;
        lag_ms := (select round(p.lag_ms::numeric, 1) from sidecar.progress p where p.watch_id = w.id);
        index := sidecar.index_of(w);
        index_statement := case when index = 'not built yet' then sidecar.index_statement(w) end;
        state := sidecar.state_of(w, pending);
        return next;
    end loop;
end $$;

create view sidecar.status as select * from sidecar.status_of(null, false);

-- The same with every number counted.
create function sidecar.status_exact(relation regclass) returns setof sidecar.status
language sql stable set search_path = pg_catalog, pg_temp as $$ select * from sidecar.status_of(relation, true) $$;

create view sidecar.failures as
    select w.relation, w.target, d.key, d.reason, d.message, d.attempts, d.failed_at as at
    from sidecar.dead_letters d join sidecar.watches w on w.id = d.watch_id
    where w.unwatched_at is null;

revoke all on all functions in schema sidecar from public;
