-- The views sidecar.status and sidecar.failures, and status_exact(table).

-- Rows of a table: counted where that is cheap or asked for, else the planner's estimate.
create function sidecar.count_rows(relation regclass, exact boolean, out n bigint, out estimated boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    select c.reltuples::bigint into n from pg_class c where c.oid = relation;
    estimated := not exact and n >= 0 and (pg_relation_size(relation) > 16 * 1024 * 1024
                 or exists (select from pg_class c where c.oid = relation and c.relkind = 'p'));
    if not estimated then
        execute format('select count(*) from %s', relation) into n;
    end if;
end $$;

-- The HNSW index on a column, also one on an expression over it. Prefers a valid one.
create function sidecar.find_index(home regclass, target text, out index regclass, out valid boolean)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select i.indexrelid::regclass, i.indisvalid
        from pg_index i
        join pg_class c on c.oid = i.indexrelid
        join pg_am am on am.oid = c.relam and am.amname = 'hnsw'
        join pg_attribute a on a.attrelid = i.indrelid and a.attname = find_index.target
        where i.indrelid = home
          and exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                      and d.refobjid = home and d.refobjsubid = a.attnum)
        order by i.indisvalid desc, i.indexrelid limit 1;
$$;

-- 'create index concurrently … using hnsw …' for a watch: what the index keeper runs, and status prints.
create function sidecar.index_statement(w sidecar.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    home regclass := coalesce(w.companion, w.relation);
    ext text := quote_ident(sidecar.vector_schema());
    name text;
begin
    select left(c.relname || '_' || w.target, 63 - length('_hnsw_' || w.id)) || '_hnsw_' || w.id into name from pg_class c where c.oid = home;
    -- left() counts characters, a name has 63 bytes
    while octet_length(name) > 63 loop
        name := left(name, length(name) - length('_hnsw_' || w.id) - 1) || '_hnsw_' || w.id;
    end loop;
    return case w.index_kind
        when 'halfvec' then format('create index concurrently %I on %s using hnsw ((%I::%s.halfvec(%s)) %s.halfvec_cosine_ops)', name, home, w.target, ext, w.dimensions, ext)
        when 'vector' then format('create index concurrently %I on %s using hnsw (%I %s.vector_cosine_ops)', name, home, w.target, ext)
        end;
end $$;

-- The nearest-neighbour query that the index serves. $1 is the query vector.
create function sidecar.search_statement(w sidecar.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    cast_to text := case w.index_kind when 'halfvec' then format('halfvec(%s)', w.dimensions) else format('vector(%s)', w.dimensions) end;
    distance text;
begin
    if sidecar.vector_schema() <> 'public' then
        cast_to := quote_ident(sidecar.vector_schema()) || '.' || cast_to;
    end if;
    distance := format('%s%I%s <=> $1::%s', case when w.companion is null then '' else 'e.' end, w.target,
        case w.index_kind when 'halfvec' then '::' || cast_to else '' end, cast_to);
    if w.companion is null then
        return format('select * from %s order by %s limit 10', w.relation, distance);
    end if;
    return format('select t.* from %s e join %s t using (%s) order by %s limit 10', w.companion, w.relation,
        (select string_agg(quote_ident(c), ', ' order by i) from unnest(w.key_columns) with ordinality as u(c, i)), distance);
end $$;

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
begin
    return case
        when not exists (select from pg_class c where c.oid = w.relation) then 'broken: the table is gone'
        when w.broken is not null then 'broken: ' || w.broken
        when exists (select from sidecar.breakages b where b.watch_id = w.id)
            then 'broken: ' || (select string_agg(distinct b.message, '; ') from sidecar.breakages b where b.watch_id = w.id)
        when w.paused then 'paused'
        when running is null then 'no sidecar is running'
        when not fits then format('waiting for a sidecar with %s and %s dimensions; running: %s',
            coalesce('fingerprint ' || w.fingerprint, 'model ' || w.model, 'any model'), w.dimensions, running)
        when scan = 'clear' then 'clearing old vectors'
        when scan = 'backfill' then 'backfilling'
        when pending > 0 then 'catching up'
        else 'up to date' end;
end $$;

create function sidecar.status_of(only_relation regclass, exact boolean) returns table (
    relation regclass, target text, kind text, source text[], companion regclass, state text,
    rows bigint, embedded bigint, pending bigint, failed bigint, empty bigint, truncated bigint, coverage numeric,
    oldest_pending interval, lag_ms double precision, index text, model text, fingerprint text, query text,
    estimated boolean, watch_id integer)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
    counted record;
    ledger record;
    exceptions record;
    queue record;
    hnsw record;
    keys text;
begin
    for w in select * from sidecar.watches x where x.unwatched_at is null and (only_relation is null or x.relation = only_relation) order by x.id loop
        relation := w.relation; target := w.target; kind := w.kind; source := w.source; companion := w.companion;
        fingerprint := w.fingerprint; model := coalesce(w.encoder, w.model); watch_id := w.id;
        keys := (select string_agg('k' || i, ', ' order by i) from generate_subscripts(w.key_columns, 1) i);
        if exists (select from pg_class c where c.oid = w.relation) then
            select * into counted from sidecar.count_rows(w.relation, exact);
            query := sidecar.search_statement(w);
        else
            select null::bigint as n, false as estimated into counted;
            query := null;
        end if;
        select max(f.index::oid)::regclass as index, bool_or(f.valid) as valid into hnsw
            from sidecar.find_index(coalesce(w.companion, w.relation), w.target) f;
        select * into ledger from sidecar.count_rows(format('sidecar.ledger_%s', w.id)::regclass, exact);
        execute format('select count(*) filter (where l.content_hash is null) as tombstones,
                               count(*) filter (where l.content_hash = ''empty'') as empty,
                               count(*) filter (where l.content_hash = ''failed'') as failed,
                               count(*) filter (where l.truncated) as truncated
                        from sidecar.ledger_%s l where truncated or content_hash is null or octet_length(content_hash) < 32', w.id) into exceptions;
        -- Rows with an event and a ledger entry wait for an update; rows without an entry wait for their first vector.
        execute format('select count(*) as updates, min(q.enqueued_at) as oldest from
                            (select %2$s, min(enqueued_at) as enqueued_at from
                                (select %2$s, enqueued_at from sidecar.events_%1$s union all select %2$s, enqueued_at from sidecar.delayed_%1$s) e
                             group by %2$s) q
                        left join sidecar.ledger_%1$s l using (%2$s) where l.content_hash is not null', w.id, keys) into queue;
        embedded := ledger.n - exceptions.tombstones - exceptions.empty - exceptions.failed;
        empty := exceptions.empty; failed := exceptions.failed; truncated := exceptions.truncated;
        rows := counted.n;
        estimated := counted.estimated or ledger.estimated;
        pending := greatest(0, counted.n - (ledger.n - exceptions.tombstones)) + queue.updates;
        execute format('select clock_timestamp() - min(enqueued_at) from
                            (select enqueued_at from sidecar.events_%1$s union all select enqueued_at from sidecar.delayed_%1$s) e', w.id) into oldest_pending;
        coverage := round(100.0 * least(1, embedded / nullif(counted.n - empty, 0)::numeric), 1);
        lag_ms := (select round(p.lag_ms::numeric, 1) from sidecar.progress p where p.watch_id = w.id);
        index := case when w.index_kind = 'none' then 'none'
            when hnsw.valid then hnsw.index::text
            when exists (select from pg_stat_progress_create_index p where p.relid = coalesce(w.companion, w.relation))
                then (select format('building: %s %s%%', p.phase, coalesce(round(100.0 * p.blocks_done / nullif(p.blocks_total, 0)), 0))
                      from pg_stat_progress_create_index p where p.relid = coalesce(w.companion, w.relation) limit 1)
            when hnsw.index is not null then 'invalid: ' || hnsw.index
            else 'not built yet' end;
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
