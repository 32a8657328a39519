-- The contents of the views status and failures.

-- The nearest-neighbour query that the index serves. $1 is the query vector.
create or replace function sidecar_internal.search_statement(w sidecar_internal.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    ext text := quote_ident(sidecar_internal.vector_schema());
    type text := case when ext <> 'public' then ext || '.' else '' end
                 || format('%s(%s)', (sidecar_internal.compared_type(w)).name, w.dimensions);
    operator text := case when ext <> 'public' then format('operator(%s.<=>)', ext) else '<=>' end;
    distance text := format('%s%I%s %s $1::%s', case when w.companion is not null then 'e.' else '' end, w.target,
                            case when (sidecar_internal.compared_type(w)).is_cast then '::' || type else '' end, operator, type);
begin
    if w.companion is null then
        return format('select * from %s order by %s limit 10', w.relation, distance);
    end if;
    return format('select t.* from %s e join %s t using (%s) order by %s limit 10', w.companion, w.relation,
                  sidecar_internal.for_each_key(w.key_columns, null, '%2$I'), distance);
end $$;

-- What to do about a watch that no running sidecar can serve.
create or replace function sidecar_internal.advise_on_model(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when s.dimensions = w.dimensions
                then format('to move it there: select sidecar.reembed(%L, %L, model => %L)', w.relation, w.target, s.fingerprint)
                else format('watch another target, with dimensions => %s', s.dimensions) end
        from sidecar_internal.sidecars s
        where s.seen_at > clock_timestamp() - interval '30 s'
        order by s.dimensions <> w.dimensions, s.started_at limit 1
$$;

-- What the watch is doing, or why it does nothing. `failed`: rows that are not being tried again.
create or replace function sidecar_internal.state_of(w sidecar_internal.watches, pending bigint, failed bigint default 0) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    scan text := (select s.purpose from sidecar_internal.scans s where s.watch_id = w.id and s.finished_at is null and s.purpose <> 'sweep'
                  order by array_position(array['move', 'clear', 'backfill', 'verify'], s.purpose) limit 1);
    running text := (select string_agg(distinct format('%s (%s)', s.model, s.fingerprint), ', ') from sidecar_internal.sidecars s
                     where s.seen_at > clock_timestamp() - interval '30 s');
    fits boolean := exists (select from sidecar_internal.sidecars s
                            where s.seen_at > clock_timestamp() - interval '30 s' and sidecar_internal.can_serve(w, s));
    fault text := sidecar_internal.fault_of(w);
    denied text := (select string_agg(distinct sidecar_internal.denial_of(w, s.role), '; ') from sidecar_internal.sidecars s
                    where fault is null and s.seen_at > clock_timestamp() - interval '30 s' and sidecar_internal.can_serve(w, s));
begin
    return case
        when fault is not null then 'broken: ' || fault
        when denied is not null then 'denied: ' || denied
        when w.paused then 'paused'
        when running is null then 'no sidecar is running'
        when not fits then format('waiting for a sidecar with %s and %s dimensions; running: %s; %s',
            coalesce('fingerprint ' || w.fingerprint, 'model ' || w.model, 'any model'), w.dimensions, running,
            sidecar_internal.advise_on_model(w))
        when scan = 'move' then 'moving vectors'
        when scan = 'clear' then 'clearing old vectors'
        when scan = 'backfill' then 'backfilling'
        when scan = 'verify' then (select format('verifying: %s rows compared, %s differ', s.rows_seen, s.found)
                                   from sidecar_internal.scans s where s.watch_id = w.id and s.purpose = 'verify')
        when pending > 0 then 'catching up'
        else coalesce(sidecar_internal.index_trouble(w),
                      'up to date' || case when failed > 0 then format(', but %s failed', case failed when 1 then '1 row' else failed || ' rows' end) else '' end) end;
end $$;

-- One word for programs and colours: problem (rows are not embedded until someone acts), warning (some are not, or a person wants it
-- so), working, ok. `state` and `index` are those of the view.
create or replace function sidecar_internal.health_of(state text, index text, pending bigint, failed bigint) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case
        when state ~ '^(broken|denied|waiting for a sidecar)' then 'problem'
        when state = 'no sidecar is running' then case when pending > 0 then 'problem' else 'warning' end
        when state = 'paused' or failed > 0 or index ~ '^(building failed|invalid)' then 'warning'
        when state <> 'up to date' or index ~ '^building' then 'working'
        else 'ok' end;
$$;

-- Why a watch cannot work, and what to run; NULL if it can.
create or replace function sidecar_internal.fault_of(w sidecar_internal.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    fault text := sidecar_internal.structure_fault_v2(w);
begin
    if fault = 'the table is gone' then
        return format('%s: select sidecar.unwatch(%s, %L)', fault, w.relation::oid, w.target);
    elsif fault = sidecar_internal.pgvector_fault() then  -- without the extension its columns are gone, with an old version they remain
        return fault || case when exists (select from pg_extension e where e.extname = 'vector') then '' else ' Then call sidecar.watch again' end;
    elsif starts_with(fault, w.companion || ' has no column ') and not exists (
            select from pg_attribute a where a.attrelid = w.companion and a.attname = w.target and not a.attisdropped) then
        return format('%s: %s; then call sidecar.watch again', fault, sidecar_internal.lost_target_statement(w));
    elsif fault = 'the companion table is gone' then
        return fault || ': call sidecar.watch again with replace => true';
    elsif fault is not null then
        return fault || ': call sidecar.watch again' || case when w.source <@ array(
            select a.attname::text from pg_attribute a where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped)
            then '' else ' with the present columns and replace => true' end;
    elsif exists (select from sidecar_internal.breakages b where b.watch_id = w.id) then
        return (select string_agg(distinct b.message, '; ') || ': call sidecar.watch again'
                from sidecar_internal.breakages b where b.watch_id = w.id);
    elsif w.broken is not null then
        return w.broken || ': call sidecar.watch again';
    elsif sidecar_internal.inherits(w.relation) then
        return 'another table inherits from it, and its primary key does not cover that one: end the inheritance';
    elsif sidecar_internal.partition_lacks_trigger(w) then
        return 'a partition lacks a trigger, or has it disabled: call sidecar.watch again';
    elsif not sidecar_internal.triggers_fit(w) then
        return 'a trigger is missing, disabled or out of date: call sidecar.watch again';
    end if;
    return null;
end $$;

-- The number of keys in the queue, how many of them have a ledger entry (`known`: they wait for an update, not for their first
-- vector), and when the oldest was enqueued. Of those with an entry above `since_gen`, which count_ledger leaves to us: how many
-- (`updates`), how many with a vector (`outdated`) or a failure (`retrying`). For a very long queue events are counted instead of
-- keys, and estimated.
create or replace function sidecar_internal.count_queue(w sidecar_internal.watches, since_gen bigint default null, out keys bigint, out known bigint,
                                                out updates bigint, out outdated bigint, out retrying bigint, out oldest timestamptz,
                                                out estimated boolean, out truncates bigint, out is_emptied boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    k text := sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s');
    is_busy boolean := false;
    bytes bigint;
begin
    estimated := false;
    truncates := 0;
    is_emptied := false;
    known := 0; updates := 0; outdated := 0; retrying := 0;
    -- Most queues are empty, and planning the statements below costs more than this test.
    bytes := pg_relation_size(format('sidecar_internal.events_%s', w.id)) + pg_relation_size(format('sidecar_internal.delayed_%s', w.id));
    -- By primary key: the pages of events that are done lie in front of the others, and VACUUM does not give them back.
    if bytes > 0 then
        execute format('select (select e.gen from sidecar_internal.events_%1$s e order by e.gen limit 1) is not null
                            or (select d.gen from sidecar_internal.delayed_%1$s d order by d.gen limit 1) is not null', w.id) into is_busy;
    end if;
    if not is_busy then
        keys := 0;
        return;
    end if;
    if sidecar_internal.key_fault(w) is not null then  -- its keys cannot be compared with the ledger's
        execute format('select count(q.k1), min(q.enqueued_at) from (
                            select %2$s, min(enqueued_at) as enqueued_at from (select %2$s, enqueued_at from sidecar_internal.events_%1$s
                                union all select %2$s, enqueued_at from sidecar_internal.delayed_%1$s) e group by %2$s) q', w.id, k)
            into keys, oldest;
        return;
    end if;
    if bytes > 16 * 1024 * 1024 then
        keys := (sidecar_internal.count_rows(format('sidecar_internal.events_%s', w.id), false)).n + (sidecar_internal.count_rows(format('sidecar_internal.delayed_%s', w.id), false)).n;
        estimated := true;
        execute format('select e.enqueued_at from sidecar_internal.events_%s e order by e.gen limit 1', w.id) into oldest;
        return;
    end if;
    -- A TRUNCATE is an event without a key. Until it is processed the ledger describes vectors that are gone.
    execute format('select count(*), coalesce(bool_or(e.force), false) from sidecar_internal.events_%s e where e.k1 is null', w.id)
        into truncates, is_emptied;
    execute format('select count(q.k1), count(l.gen), count(*) filter (where l.is_above), count(*) filter (where l.is_above and l.vector_digest is not null),
                           count(*) filter (where l.is_above and l.content_hash = ''failed''), min(q.enqueued_at)
                    from (select %2$s, min(enqueued_at) as enqueued_at
                          from (select %2$s, enqueued_at from sidecar_internal.events_%1$s
                                union all select %2$s, enqueued_at from sidecar_internal.delayed_%1$s) e
                          group by %2$s) q
                    left join (select %2$s, gen, content_hash, vector_digest, ($1 is null or gen > $1) as is_above
                               from sidecar_internal.ledger_%1$s where content_hash is not null) l using (%2$s)', w.id, k)
        into keys, known, updates, outdated, retrying, oldest using since_gen;
end $$;

-- Ledger entries by kind. Counted if the ledger is small or `exact`. For a large one, tombstones, failures and empty rows are
-- counted by their indexes while they are few; truncated and unreadable texts, which may be nearly all, are estimated from a
-- few hundred pages. Of the entries up to `since_gen`, written before all rows began to be embedded again: how many (`updates`),
-- how many with a vector (`outdated`) or a failure (`retrying`).
create or replace function sidecar_internal.count_ledger(w sidecar_internal.watches, exact boolean, since_gen bigint default null, out entries bigint,
                                     out empty bigint, out failed bigint, out truncated bigint, out unreadable bigint,
                                     out updates bigint, out outdated bigint, out retrying bigint, out estimated boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    ledger constant regclass := format('sidecar_internal.ledger_%s', w.id);
    pages constant double precision := pg_relation_size(ledger) / current_setting('block_size')::integer;
    exceptions constant regclass := to_regclass(format('sidecar_internal.ledger_%s_exceptions', w.id));
    share double precision;
    sample record;
    tombstones bigint;
begin
    estimated := not exact and pages > 2048;
    if not estimated then
        execute format('select count(l.content_hash), count(*) filter (where l.content_hash = ''empty''),
                               count(*) filter (where l.content_hash = ''failed''), count(*) filter (where l.truncated),
                               count(*) filter (where l.unreadable), count(l.content_hash) filter (where l.gen <= $1),
                               count(l.vector_digest) filter (where l.gen <= $1),
                               count(*) filter (where l.gen <= $1 and l.content_hash = ''failed'') from %s l', ledger)
            into entries, empty, failed, truncated, unreadable, updates, outdated, retrying using since_gen;
        return;
    end if;
    share := least(1, 256 / pages);
    execute format('select count(*) as rows, count(*) filter (where l.truncated) as truncated, count(*) filter (where l.unreadable) as unreadable,
                           count(*) filter (where l.content_hash = ''empty'') as empty, count(l.content_hash) filter (where l.gen <= $1) as updates,
                           count(l.vector_digest) filter (where l.gen <= $1) as outdated,
                           count(*) filter (where l.gen <= $1 and l.content_hash = ''failed'') as retrying
                    from %s l tablesample system (%s) repeatable (0)', ledger, 100 * share) into sample using since_gen;
    execute format('select count(*) from (select from %s l where l.content_hash is null limit 100000) x', ledger) into tombstones;
    entries := (sidecar_internal.count_rows(ledger, false)).n - tombstones;
    truncated := least(entries, round(sample.truncated / share));
    unreadable := least(entries, round(sample.unreadable / share));
    updates := least(entries, round(sample.updates / share));
    outdated := least(entries, round(sample.outdated / share));
    failed := (select count(*) from sidecar_internal.failures d where d.watch_id = w.id);
    if pg_relation_size(exceptions) < 1024 * 1024 then
        execute format('select count(*) filter (where l.content_hash = ''empty'') from %s l where octet_length(l.content_hash) < 32', ledger) into empty;
    else
        empty := least(entries, round(sample.empty / share));
    end if;
    retrying := least(failed, round(sample.retrying / share));
    entries := greatest(entries, empty + failed);
end $$;

-- The number of rows without a ledger entry, counted one by one. NULL if our role may not read the table, or if the key's type
-- has changed: comparing it might call a function of its owner's with our rights. (A type that changes during the call is an
-- error.)
create or replace function sidecar_internal.count_unknown(w sidecar_internal.watches) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    n bigint;
begin
    if not sidecar_internal.may_count(w.relation) or not exists (select from pg_constraint c where c.conrelid = w.relation and c.contype = 'p')
            or (select p.types from sidecar_internal.primary_key_of(w.relation) p) is distinct from w.key_types
            or sidecar_internal.key_fault(w) is not null then
        return null;
    end if;
    execute format('select count(*) from %s t
                    where not exists (select from sidecar_internal.ledger_%s l where %s and l.content_hash is not null)',
                   w.relation, w.id, sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = l.k%1$s', ' and ')) into n;
    return n;
end $$;

-- True if the watch has a companion that was dropped.
create or replace function sidecar_internal.companion_is_gone(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select w.companion is not null and not exists (select from pg_class c where c.oid = w.companion);
$$;

-- The rows of sidecar.status. Readers call it, so it runs with the rights of the installer, and calls no code of users'. All
-- functions it calls look into the catalogs by key, with plans that are kept: planning these queries for each watch took a
-- fifth of its time.
create or replace function sidecar_internal.status_of(only_relation regclass, exact boolean) returns table (
    relation regclass, target text, kind text, source text[], companion regclass, state text,
    rows bigint, embedded bigint, pending bigint, failed bigint, empty bigint, truncated bigint, coverage numeric,
    oldest_pending interval, lag_ms double precision, index text, model text, fingerprint text, query text,
    estimated boolean, watch_id integer, index_statement text, rows_per_s double precision, companion_view regclass,
    unreadable bigint, outdated bigint, retrying bigint, health text, storage text,
    recall double precision, recall_k integer, recall_ef_search integer, recall_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set row_security = off set plan_cache_mode = force_generic_plan as $$
declare
    w sidecar_internal.watches;
    counted record;
    ledger record;
    queue record;
    unknown bigint;
    since_gen bigint;
    builds constant jsonb := sidecar_internal.running_builds();
    knows_vectors constant boolean := sidecar_internal.pgvector_fault() is null;
begin
    for w in select * from sidecar_internal.watches x
             where x.unwatched_at is null and (only_relation is null or x.relation = only_relation) order by x.id loop
        relation := w.relation; target := w.target; kind := w.kind; source := w.source; companion := w.companion;
        fingerprint := w.fingerprint; model := coalesce(w.encoder, w.model); watch_id := w.id;
        rows_per_s := w.rows_per_s; companion_view := w.companion_view; storage := w.storage;
        begin
            rows := null; query := null; estimated := false;
            if exists (select from pg_class c where c.oid = w.relation) then
                select c.n, c.estimated into rows, estimated from sidecar_internal.count_rows(w.relation, exact) c;
                query := case when knows_vectors then sidecar_internal.search_statement(w) end;
            end if;
            since_gen := (select s.start_gen from sidecar_internal.scans s
                          where s.watch_id = w.id and s.purpose = 'backfill' and s.force and s.finished_at is null);
            ledger := sidecar_internal.count_ledger(w, exact, since_gen);
            queue := sidecar_internal.count_queue(w, since_gen);
            if queue.is_emptied or sidecar_internal.companion_is_gone(w) then
                ledger.entries := 0; ledger.empty := 0; ledger.failed := 0; ledger.truncated := 0; ledger.unreadable := 0;
                ledger.updates := 0; ledger.outdated := 0; ledger.retrying := 0; queue.outdated := 0; queue.retrying := 0;
            end if;
            embedded := ledger.entries - ledger.empty - ledger.failed;
            empty := ledger.empty; failed := ledger.failed; truncated := ledger.truncated; unreadable := ledger.unreadable;
            outdated := least(embedded, ledger.outdated + queue.outdated);
            retrying := least(failed, ledger.retrying + queue.retrying);
            -- A row that is neither in the ledger nor in the queue is still to be read by the backfill. After that only the
            -- queue counts: the difference of two estimates would never settle at 0.
            unknown := case when exact and rows is not null then sidecar_internal.count_unknown(w) end;
            pending := case when unknown is not null then unknown + ledger.updates + queue.updates
                when exists (select from sidecar_internal.scans s
                             where s.watch_id = w.id and s.purpose in ('clear', 'backfill') and s.finished_at is null)
                    then greatest(rows - ledger.entries, queue.keys - queue.known) + ledger.updates + queue.updates
                when queue.is_emptied then greatest(rows, queue.keys)
                else queue.keys + queue.truncates end;
            estimated := estimated or ledger.estimated or queue.estimated;
            oldest_pending := clock_timestamp() - queue.oldest;
            coverage := case when rows > empty then trunc(100.0 * least(1, embedded::numeric / (rows - empty)), 1) end;
            lag_ms := (select round(p.lag_ms::numeric, 1) from sidecar_internal.progress p where p.watch_id = w.id);
            index := sidecar_internal.index_of(w, builds);
            index_statement := case when rows is not null and knows_vectors then sidecar_internal.index_statement(w) end;
            state := sidecar_internal.state_of(w, pending, failed - retrying);
            health := sidecar_internal.health_of(state, index, pending, failed - retrying);
            select r.recall, r.k, r.ef_search, r.measured_at into recall, recall_k, recall_ef_search, recall_at
                from sidecar_internal.usual_recall_of(w) r;
        exception when undefined_table or syntax_error then
            -- A table was dropped after the snapshot of this statement; its regclass prints as a number.
            raise warning 'watch % is left out: %', w.id, sqlerrm;
            continue;
        end;
        return next;
    end loop;
end $$;

-- True if vectors of this sidecar belong into this watch.
create or replace function sidecar_internal.can_serve(w sidecar_internal.watches, s sidecar_internal.sidecars) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select s.dimensions = w.dimensions
        and case when w.fingerprint is not null then s.fingerprint = w.fingerprint else w.model is null or w.model in (s.model, s.fingerprint) end;
$$;
