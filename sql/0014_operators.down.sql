-- Undoes 0014_operators.up.sql.
drop function sidecar.sample_source(sidecar.watches, bigint, integer, integer);
drop function sidecar.graph_bytes(sidecar.watches, bigint);
drop function sidecar.count_strangers(sidecar.watches, integer);
drop function sidecar.count_orphans(sidecar.watches, integer);
drop function sidecar.pending_of(sidecar.watches);
drop function sidecar.serving_roles();
drop function sidecar.watch_statement(sidecar.watches);
drop function sidecar.show_row(sidecar.watches, jsonb);
drop function sidecar.search(regclass, text, text, integer);
drop view sidecar.failures_by_reason;
drop function sidecar.advice_on(text);
drop function sidecar.set_rate(regclass, text, double precision);
drop function sidecar.status_exact(regclass);
drop view sidecar.status;
drop function sidecar.status_of(regclass, boolean);

-- 'products_photo_embedding_hnsw_1', or why there is none.
create or replace function sidecar.index_of(w sidecar.watches) returns text
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

-- Rows of a table: counted where that is cheap or asked for, else estimated as the planner does: rows a page at the last
-- ANALYZE, times the pages of now. Of a partitioned table the partitions count.
create or replace function sidecar.count_rows(relation regclass, exact boolean, out n bigint, out estimated boolean)
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

-- Rows that the ledger knows nothing of, counted one by one.
create or replace function sidecar.count_unknown(w sidecar.watches) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    n bigint;
begin
    execute format('select count(*) from %s t
                    where not exists (select from sidecar.ledger_%s l where %s and l.content_hash is not null)',
                   w.relation, w.id, sidecar.for_each_key(w.key_columns, null, 't.%2$I = l.k%1$s', ' and ')) into n;
    return n;
end $$;

-- What the watch is doing, or why it is not.
create or replace function sidecar.state_of(w sidecar.watches, pending bigint) returns text
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

drop function sidecar.may_fill(sidecar.watches, sidecar.sidecars);
drop function sidecar.may_count(regclass);
drop view sidecar.index_builds;
alter table sidecar.sidecars drop column clock_skew_s, drop column texts_per_s, drop column picture_views_per_s;
alter table sidecar.watches drop column rows_per_s;
alter function sidecar.status_of(regclass, boolean) security definer set row_security = off;
revoke all on all functions in schema sidecar from public;
select sidecar.renew_grants();
