-- What operators look at and set: rate caps, index builds, failures by reason, and search by key.

-- The cap of a watch, over all sidecars together; NULL: none.
alter table sidecar.watches add column rows_per_s double precision check (rows_per_s > 0);

-- How far a sidecar's clock is ahead of the server's, and how much of each kind its device does in a second (NULL: not
-- measured yet).
alter table sidecar.sidecars add column clock_skew_s double precision, add column texts_per_s double precision,
    add column picture_views_per_s double precision;

-- Caps a watch, all watches of a table, or (no table) all, at so many rows a second, live ones and backfill together. NULL
-- lifts the cap. Returns how many watches it changed.
create function sidecar.set_rate(relation regclass default null, target text default null, rows_per_s double precision default null)
returns integer language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    changed integer;
begin
    if set_rate.rows_per_s <= 0 or set_rate.rows_per_s in ('nan', 'infinity') then
        raise exception 'rows_per_s is %', set_rate.rows_per_s using errcode = 'invalid_parameter_value',
            hint = 'Give a number above 0 (0.5 is a row every two seconds), or NULL for no cap; sidecar.pause stops a watch.';
    elsif target is not null or (relation is not null and not exists (
            select from sidecar.watches w where w.relation = set_rate.relation and w.unwatched_at is null)) then
        perform sidecar.need_watch(relation, target);
    end if;
    update sidecar.watches w set rows_per_s = set_rate.rows_per_s
        where w.unwatched_at is null and w.rows_per_s is distinct from set_rate.rows_per_s
          and (set_rate.relation is null or w.relation = set_rate.relation)
          and (set_rate.target is null or w.target = set_rate.target);
    get diagnostics changed = row_count;
    perform pg_notify('sidecar_watches', '');
    return changed;
end $$;

-- Index builds under way, as far as the role may see them: its own, or all with pg_read_all_stats. `percent` is that of the
-- phase. One watch's index is told from another's by its column; a build that is not CONCURRENTLY hides its index until it ends.
create view sidecar.index_builds as
    select w.id as watch_id, w.relation, w.target, p.relid::regclass as home, p.pid, p.phase,
           round(100 * least(1, coalesce(p.blocks_done::numeric / nullif(p.blocks_total, 0),
                                         p.tuples_done::numeric / nullif(greatest(c.reltuples::numeric, p.tuples_total, 0), 0), 0)), 1) as percent,
           p.blocks_done, p.blocks_total, p.tuples_done, p.tuples_total
    from sidecar.watches w
    join pg_stat_progress_create_index p on p.datname = current_database()
        and p.relid in (select t.home from sidecar.tree_of(coalesce(w.companion, w.relation)) t)
    join pg_class c on c.oid = p.relid
    where w.unwatched_at is null and (not exists (select from pg_class i where i.oid = p.index_relid) or exists (
        select from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where d.classid = 'pg_class'::regclass and d.objid = p.index_relid and d.refobjid = p.relid and a.attname = w.target));

-- 'products_photo_embedding_hnsw_1', or why there is none.
create or replace function sidecar.index_of(w sidecar.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    hnsw record;
    tree record;
    -- Who may not see the progress of others sees at least that a sidecar holds the lock of its index keeper.
    build text := coalesce(
        (select format('building: %s %s%%', b.phase, b.percent) from sidecar.index_builds b where b.watch_id = w.id limit 1),
        (select 'building' from pg_locks l
         where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
           and l.database = (select d.oid from pg_database d where d.datname = current_database())
           and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('sidecar.index.' || w.id, 0)));
begin
    select f.index, f.valid into hnsw from sidecar.find_index(coalesce(w.companion, w.relation), w.target) f;
    tree := sidecar.count_leaf_indexes(w);
    return case when w.index_kind = 'none' then 'none' when hnsw.valid then hnsw.index::text when build is not null then build
           when tree.leaves > 0 and hnsw.index is not null then format('%s of %s partitions have it', tree.built, tree.leaves)
           when hnsw.index is not null then 'invalid: ' || hnsw.index else 'not built yet' end;
end $$;

-- Whether our role may read a table whole, and doing so calls nobody's code: no policy's function.
create function sidecar.may_count(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select has_schema_privilege(c.relnamespace, 'usage') and has_any_column_privilege(c.oid, 'select') and not row_security_active(c.oid)
        from pg_class c where c.oid = relation;
$$;

-- Rows of a table: counted where that is cheap or asked for, else estimated as the planner does: rows a page at the last
-- ANALYZE, times the pages of now; also where our role may not read it. Of a partitioned table the partitions count.
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
    if not sidecar.may_count(relation) then
        n := coalesce(greatest(n, 0), 0);
        estimated := true;
    elsif not estimated then
        execute format('select count(*) from %s', relation) into n;
    end if;
end $$;

-- Rows that the ledger knows nothing of, counted one by one. NULL where our role may not read them, or where the key has got
-- another type since: comparing it may call a function of its owner's with our rights.
create or replace function sidecar.count_unknown(w sidecar.watches) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    n bigint;
begin
    if not sidecar.may_count(w.relation) or not exists (select from pg_constraint c where c.conrelid = w.relation and c.contype = 'p')
            or (select p.types from sidecar.primary_key_of(w.relation) p) is distinct from w.key_types then
        return null;
    end if;
    execute format('select count(*) from %s t
                    where not exists (select from sidecar.ledger_%s l where %s and l.content_hash is not null)',
                   w.relation, w.id, sidecar.for_each_key(w.key_columns, null, 't.%2$I = l.k%1$s', ' and ')) into n;
    return n;
end $$;

-- Whether vectors of this sidecar belong into this watch.
create function sidecar.may_fill(w sidecar.watches, s sidecar.sidecars) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select s.dimensions = w.dimensions
        and case when w.fingerprint is not null then s.fingerprint = w.fingerprint else w.model is null or w.model in (s.model, s.fingerprint) end;
$$;

-- What the watch is doing, or why it is not.
create or replace function sidecar.state_of(w sidecar.watches, pending bigint) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    scan text := (select s.purpose from sidecar.scans s where s.watch_id = w.id and s.finished_at is null and s.purpose <> 'sweep'
                  order by array_position(array['move', 'clear', 'backfill', 'verify'], s.purpose) limit 1);
    running text := (select string_agg(distinct format('%s (%s)', s.model, s.fingerprint), ', ') from sidecar.sidecars s
                     where s.seen_at > clock_timestamp() - interval '30 s');
    fits boolean := exists (select from sidecar.sidecars s
                            where s.seen_at > clock_timestamp() - interval '30 s' and sidecar.may_fill(w, s));
    fault text := sidecar.fault_of(w);
    denied text := (select string_agg(distinct sidecar.denial_of(w, s.role), '; ') from sidecar.sidecars s
                    where s.seen_at > clock_timestamp() - interval '30 s' and sidecar.may_fill(w, s));
begin
    return case
        when fault is not null then 'broken: ' || fault
        when denied is not null then 'denied: ' || denied
        when w.paused then 'paused'
        when running is null then 'no sidecar is running'
        when not fits then format('waiting for a sidecar with %s and %s dimensions; running: %s',
            coalesce('fingerprint ' || w.fingerprint, 'model ' || w.model, 'any model'), w.dimensions, running)
        when scan = 'move' then 'moving vectors'
        when scan = 'clear' then 'clearing old vectors'
        when scan = 'backfill' then 'backfilling'
        when scan = 'verify' then (select format('verifying: %s rows compared, %s differ', s.rows_seen, s.found)
                                   from sidecar.scans s where s.watch_id = w.id and s.purpose = 'verify')
        when pending > 0 then 'catching up'
        else 'up to date' end;
end $$;

drop function sidecar.status_exact(regclass);
drop view sidecar.status;
drop function sidecar.status_of(regclass, boolean);

-- For readers too, so it runs with the rights of the schema's owner, and calls no code of users'.
create function sidecar.status_of(only_relation regclass, exact boolean) returns table (
    relation regclass, target text, kind text, source text[], companion regclass, state text,
    rows bigint, embedded bigint, pending bigint, failed bigint, empty bigint, truncated bigint, coverage numeric,
    oldest_pending interval, lag_ms double precision, index text, model text, fingerprint text, query text,
    estimated boolean, watch_id integer, index_statement text, rows_per_s double precision, companion_view regclass)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set row_security = off as $$
declare
    w sidecar.watches;
    counted record;
    ledger record;
    queue record;
    unknown bigint;
begin
    for w in select * from sidecar.watches x
             where x.unwatched_at is null and (only_relation is null or x.relation = only_relation) order by x.id loop
        relation := w.relation; target := w.target; kind := w.kind; source := w.source; companion := w.companion;
        fingerprint := w.fingerprint; model := coalesce(w.encoder, w.model); watch_id := w.id;
        rows_per_s := w.rows_per_s; companion_view := w.companion_view;
        begin
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
            unknown := case when exact and rows is not null then sidecar.count_unknown(w) end;
            pending := case when unknown is not null then unknown + queue.updates
                when exists (select from sidecar.scans s
                             where s.watch_id = w.id and s.purpose in ('clear', 'backfill') and s.finished_at is null)
                    then greatest(rows - ledger.entries, queue.keys - queue.updates) + queue.updates
                else queue.keys end;
            estimated := estimated or ledger.estimated;
            oldest_pending := clock_timestamp() - queue.oldest;
            coverage := case when rows > empty then round(100.0 * least(1, embedded::numeric / (rows - empty)), 1) end;
            lag_ms := (select round(p.lag_ms::numeric, 1) from sidecar.progress p where p.watch_id = w.id);
            index := sidecar.index_of(w);
            index_statement := case when rows is not null then sidecar.index_statement(w) end;
            state := sidecar.state_of(w, pending);
        exception when undefined_table or syntax_error then
            -- A table was dropped after this statement's snapshot was taken; what is gone prints as its number.
            raise warning 'watch % is left out: %', w.id, sqlerrm;
            continue;
        end;
        return next;
    end loop;
end $$;

create view sidecar.status as select * from sidecar.status_of(null, false);

-- The same with every number counted.
create function sidecar.status_exact(relation regclass) returns setof sidecar.status
language sql stable set search_path = pg_catalog, pg_temp as $$ select * from sidecar.status_of(relation, true) $$;

-- What to do about rows that failed for a reason.
create function sidecar.advice_on(reason text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case
        when reason in ('not_a_picture', 'truncated_picture', 'unsupported_format')
            then 'Put a whole picture of a known format into the row: it is tried again by itself.'
        when reason = 'too_many_pixels' then 'Scale the picture down, or raise MAX_IMAGE_PIXELS and retry.'
        when reason = 'too_many_bytes' then 'Make the content smaller, or raise the limit that the message names and retry.'
        when reason = 'decode_timeout' then 'Raise DECODE_TIMEOUT_S, or give the machine more CPUs, and retry.'
        when reason in ('decode_crashed', 'decode_out_of_memory')
            then 'Save the picture anew, or raise DECODE_MEMORY_BYTES, and retry.'
        when reason = 'device_out_of_memory' then 'Lower BATCH_MAX_VIEWS, or free memory on the device, and retry.'
        when reason = 'worker_crashed' then 'The sidecar''s log says what ended it; mend that and retry.'
        when reason in ('write_rejected', 'write_suppressed')
            then 'A constraint or trigger of the table refused the vector: mend it and retry.'
        else 'The message says what was wrong; mend it and retry.' end;
$$;

create view sidecar.failures_by_reason as
    select w.relation, w.target, g.reason, g.failures, g.oldest, g.newest, e.key as example_key, e.message as example_message,
           sidecar.advice_on(g.reason) as advice, w.id as watch_id
    from (select d.watch_id, d.reason, count(*) as failures, min(d.failed_at) as oldest, max(d.failed_at) as newest
          from sidecar.dead_letters d group by d.watch_id, d.reason) g
    join sidecar.watches w on w.id = g.watch_id
    cross join lateral (select d.key, d.message from sidecar.dead_letters d
                        where d.watch_id = g.watch_id and d.reason = g.reason order by d.failed_at desc limit 1) e
    where w.unwatched_at is null;

-- The rows nearest to a vector: their keys and cosine distances (0 to 2), nearest first. Through the index, which goes on
-- until it has found k rows. `query_vector` is a vector's text, '[0.1, …]', so that this works wherever pgvector lives.
create function sidecar.search(relation regclass, query_vector text, target text default null, k integer default 10)
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

-- A row for people to read: an array of objects (a function takes 100 arguments, an object has 50 of the columns, in their
-- order). Without vectors, and of a bytea only its length, {"bytes": 2048}. NULL if there is no row with this canonical key.
create function sidecar.show_row(w sidecar.watches, key jsonb) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    shown json;
    fields text := (select string_agg(format('json_build_object(%s)', part.pairs), ', ' order by part.n) from (
        select (a.position - 1) / 50 as n, string_agg(format(case a.type when 'bytea' then '%1$L, case when t.%2$I is not null then json_build_object(''bytes'', octet_length(t.%2$I)) end'
                                                   else '%1$L, t.%2$I' end, a.attname, a.attname), ', ' order by a.position) as pairs
        from (select x.attname, b.printed as type, row_number() over (order by x.attnum) as position
              from pg_attribute x cross join sidecar.base_type(x.atttypid, x.atttypmod) b join pg_type y on y.oid = b.type
              where x.attrelid = w.relation and x.attnum > 0 and not x.attisdropped
                and y.typname not in ('vector', 'halfvec', 'sparsevec')) a
        group by 1) part);
begin
    execute format('select array_to_json(array[%s]) from %s t where %s', fields, w.relation, sidecar.key_condition(w, ours => false))
        into shown using key;
    return shown;
end $$;

-- Whom the sidecar is to the server: the roles of those that run; else those that were granted a worker's rights; else us.
create function sidecar.serving_roles() returns setof name
language sql stable set search_path = pg_catalog, pg_temp as $$
    with running as (
        select distinct s.role from sidecar.sidecars s where s.seen_at > clock_timestamp() - interval '30 s'
    ), granted as (
        select pg_get_userbyid(r.role) as role from sidecar.roles() r where r.kind = 'worker'
    )
    select role from running
    union select role from granted where not exists (select from running)
    union select current_user where not exists (select from running) and not exists (select from granted);
$$;

-- A FROM item: the keys that wait, as e.k1, e.k2 …
create function sidecar.pending_of(w sidecar.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('(select %1$s from sidecar.events_%2$s union all select %1$s from sidecar.delayed_%2$s) e',
                  sidecar.for_each_key(w.key_columns, null, 'k%1$s'), w.id);
$$;

-- Rows of a companion whose source row is gone, and of which no event tells: `at_most` are counted.
create function sidecar.count_orphans(w sidecar.watches, at_most integer) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    n bigint;
begin
    execute format('select count(*) from (select from %s h where not exists (select from %s t where %s)
                                          and not exists (select from %s where %s) limit $1) o',
        w.companion, w.relation, sidecar.for_each_key(w.key_columns, null, 't.%2$I = h.%2$I', ' and '),
        sidecar.pending_of(w), sidecar.for_each_key(w.key_columns, null, 'e.k%1$s = h.%2$I', ' and ')) into n using at_most;
    return n;
end $$;

-- Of up to `at_most` vectors, how many somebody else wrote, while no trigger told of it: of another length, without an entry
-- in the ledger, or not those that the ledger knows.
create function sidecar.count_strangers(w sidecar.watches, at_most integer, out looked bigint, out strangers bigint)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    home regclass := coalesce(w.companion, w.relation);
    rows bigint := greatest((sidecar.count_rows(home, false)).n, 1);
    ext text := quote_ident(sidecar.vector_schema());
begin
    execute format('select count(*), count(*) filter (where (%1$s.vector_dims(h.%2$I) <> $2
                               or sha256(%1$s.vector_send(h.%2$I)) is distinct from l.vector_digest)
                           and not exists (select from %8$s where %4$s))
                    from (select * from %5$s t tablesample system (%6$s) where t.%2$I is not null limit $1) h
                    left join sidecar.ledger_%3$s l on %7$s',
        ext, w.target, w.id, sidecar.for_each_key(w.key_columns, null, 'e.k%1$s = h.%2$I', ' and '), home,
        least(100, 200.0 * at_most / rows), sidecar.for_each_key(w.key_columns, null, 'l.k%1$s = h.%2$I', ' and '), sidecar.pending_of(w))
        into looked, strangers using at_most, w.dimensions;
end $$;

-- Bytes that building an HNSW index (m = 16) takes in memory; measured: the vectors and 720 bytes a row.
create function sidecar.graph_bytes(w sidecar.watches, rows bigint) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case w.index_kind when 'halfvec' then 2 when 'vector' then 4 end * w.dimensions * rows + 720 * rows;
$$;

-- The call that makes a watch what it is, or mends it. A companion that is gone is made anew, under a name of its own.
create function sidecar.watch_statement(w sidecar.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('select sidecar.watch(%L, source => array[%s], target => %L, kind => %L, companion => %L, dimensions => %s, model => %L, index => %L)',
                  w.relation, (select string_agg(quote_literal(c), ', ' order by i) from unnest(w.source) with ordinality u(c, i)),
                  w.target, w.kind, case when w.companion is not null then coalesce(
                      (select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.companion),
                      (select format('%I.%I', n.nspname, left(c.relname || '_' || w.target, 63))
                       from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.relation)) end,
                  w.dimensions, w.model, w.index_kind);
$$;

-- About `sample_rows` rows of a table, all of them if it has no more: length of the source in bytes (NULL: nothing to embed),
-- and of a picture its first `head_bytes`. Large tables are sampled by page, thinned so that all of the table has its share.
create function sidecar.sample_source(w sidecar.watches, rows bigint, sample_rows integer, head_bytes integer)
returns table (bytes bigint, head bytea)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    min_pages constant double precision := 100;
    pages double precision := (select greatest(sum(pg_relation_size(t.home)), 1) / current_setting('block_size')::integer
                               from sidecar.tree_of(w.relation) t);
    wanted double precision := least(1, sample_rows / greatest(rows, 1)::double precision);
    share double precision := least(1, greatest(wanted, min_pages / greatest(pages, 1)));
    content text := format('nullif(concat_ws('' '', %s), '''')', (select string_agg(format('t.%I::text', c), ', ' order by i) from unnest(w.source) with ordinality u(c, i)));
begin
    return query execute format('select %s from %s t tablesample system (%s) where random() <= %s',
        case w.kind when 'image' then format('octet_length(t.%1$I)::bigint, substring(t.%1$I from 1 for $1)', w.source[1])
             else format('octet_length(%s)::bigint, null::bytea', content) end, w.relation, 100 * share, wanted / share) using head_bytes;
end $$;

revoke all on all functions in schema sidecar from public;
select sidecar.renew_grants();
