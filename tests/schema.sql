-- All of schema `sidecar` at the newest migration. Written by `make schema`; a test compares it.

CREATE SCHEMA sidecar;

COMMENT ON SCHEMA sidecar IS 'Functions, procedures and views of the sidecar, to be called and read: \df+ sidecar.*';

CREATE SCHEMA sidecar_internal;

COMMENT ON SCHEMA sidecar_internal IS 'Tables and functions of the sidecar that may change with every version.';

CREATE FUNCTION sidecar.backlog(model text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
    w sidecar_internal.watches;
    waiting bigint;
    total bigint := 0;
begin
    for w in select * from sidecar_internal.watches x
             where x.unwatched_at is null and not x.paused and (backlog.model is null or sidecar_internal.takes_model(x, backlog.model))
             order by x.id loop
        begin
            waiting := sidecar_internal.backlog_of(w);
            if waiting > 0 and sidecar_internal.fault_of(w) is null and not sidecar_internal.is_denied_to_all(w) then
                total := total + waiting;
            end if;
        exception when undefined_table or syntax_error then
            continue; -- dropped after the snapshot of this statement
        end;
    end loop;
    return total;
end $$;

COMMENT ON FUNCTION sidecar.backlog(model text) IS 'Rows that sidecars could embed now, whether one is running or not: what an autoscaler needs. Paused and broken watches, failed rows and rows whose next attempt is not due do not count. With model, a name or a fingerprint, only watches that take its vectors. Estimated for large tables.';

CREATE FUNCTION sidecar.disable_embed() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $$
declare
    role constant name := sidecar_internal.embed_role();
begin
    drop server if exists sidecar_embed cascade;
    if exists (select from pg_roles r where r.rolname = role) then
        -- Not by DROP OWNED: who may create roles has not their rights.
        if exists (select from pg_database d cross join aclexplode(d.datacl) a where d.datname = current_database() and a.grantee = role::regrole) then
            execute format('revoke connect on database %I from %I', current_database(), role);
        end if;
        execute format('revoke all on all routines in schema sidecar_internal from %I', role);
        execute format('revoke all on schema sidecar_internal from %I', role);
        execute format('drop role %I', role);
    end if;
end $$;

COMMENT ON FUNCTION sidecar.disable_embed() IS 'Removes what sidecar.enable_embed has set up: the server, its user mapping and the role. The extension dblink stays.';

CREATE FUNCTION sidecar.embed(content bytea, target text DEFAULT NULL::text, timeout_ms integer DEFAULT 10000) RETURNS public.vector
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    AS $$
    select sidecar_internal.embed_in_statement(sidecar_internal.find_query_model(target), 'image', content, timeout_ms);
$$;

COMMENT ON FUNCTION sidecar.embed(content bytea, target text, timeout_ms integer) IS 'The vector of a picture within a statement; otherwise like the function for texts.';

CREATE FUNCTION sidecar.embed(content text, target text DEFAULT NULL::text, timeout_ms integer DEFAULT 10000) RETURNS public.vector
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    AS $$
    select sidecar_internal.embed_in_statement(sidecar_internal.find_query_model(target), 'text',
                                               pg_catalog.convert_to(content, 'UTF8'), timeout_ms);
$$;

COMMENT ON FUNCTION sidecar.embed(content text, target text, timeout_ms integer) IS 'The vector of a text, with the model of a watch, within a statement: order by embedding <=> sidecar.embed(''a green mug'', ''products.embedding''). Needs sidecar.enable_embed() once, for all but what the cache knows.';

CREATE PROCEDURE sidecar.embed(IN content bytea, INOUT vector public.vector, IN target text DEFAULT NULL::text, IN timeout_ms integer DEFAULT 10000)
    LANGUAGE plpgsql
    AS $$
declare
    fingerprint constant text := sidecar_internal.find_query_model(target);
    answer real[];
begin
    call sidecar_internal.embed_content(fingerprint, 'image', content, timeout_ms, answer);
    vector := answer;
end $$;

COMMENT ON PROCEDURE sidecar.embed(IN content bytea, INOUT vector public.vector, IN target text, IN timeout_ms integer) IS 'Embeds a picture with the model of a watch; otherwise like the procedure for texts.';

CREATE PROCEDURE sidecar.embed(IN content text, INOUT vector public.vector, IN target text DEFAULT NULL::text, IN timeout_ms integer DEFAULT 10000)
    LANGUAGE plpgsql
    AS $$
declare
    fingerprint constant text := sidecar_internal.find_query_model(target);
    answer real[];
begin
    call sidecar_internal.embed_content(fingerprint, 'text', pg_catalog.convert_to(content, 'UTF8'), timeout_ms, answer);
    vector := answer;
end $$;

COMMENT ON PROCEDURE sidecar.embed(IN content text, INOUT vector public.vector, IN target text, IN timeout_ms integer) IS 'Embeds a text with the model of a watch: call sidecar.embed(''a green mug'', target => ''products.photo_embedding'', vector => null). Commits, so it is called outside a transaction block. Raises SC001 after timeout_ms, SC002 if there is nothing to embed, SC003 without a sidecar, 53000 if too many queries wait.';

CREATE PROCEDURE sidecar.enable_embed(IN server text DEFAULT NULL::text)
    LANGUAGE plpgsql
    AS $$
declare
    password constant text := sidecar_internal.prepare_embed_role();
    address text;
    fault text;
    faults text;
begin
    for address in select a.own from (select server as own where server is not null
                                      union all select o.own from sidecar_internal.own_addresses() o(own) where server is null) a loop
        perform sidecar_internal.set_embed_server(address, password);
        commit;
        fault := sidecar_internal.embed_connection_fault();
        if fault is null then
            return;
        end if;
        faults := pg_catalog.concat_ws('; ', faults, pg_catalog.concat(address, ': ', fault));
    end loop;
    raise exception 'the server does not reach itself: %', faults using errcode = 'SC004',
        hint = 'Name an address at which it takes passwords: call sidecar.enable_embed(server => ''host=127.0.0.1 port=5432'');';
end $$;

COMMENT ON PROCEDURE sidecar.enable_embed(IN server text) IS 'Lets sidecar.embed work within a statement, for all sessions: sets up dblink to this server, or to the one named as ''host=primary port=5432'', with a role that may only ask for vectors. Run it once, as the owner of schema sidecar.';

CREATE FUNCTION sidecar.grant_reader(role regrole) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform sidecar_internal.check_role(role);
    perform sidecar_internal.grant_schema(role, 'reader');
end $$;

COMMENT ON FUNCTION sidecar.grant_reader(role regrole) IS 'Grants a role what it needs to read status and failures, wait for rows and search. Rights on the searched tables are granted separately.';

CREATE FUNCTION sidecar.grant_worker(role regrole) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar_internal.watches;
begin
    perform sidecar_internal.check_role(role);
    perform sidecar_internal.grant_schema(role, 'worker');
    for w in select * from sidecar_internal.watches x order by x.id loop
        perform sidecar_internal.grant_queue(w.id, role);
        if w.unwatched_at is null and exists (select from pg_class c where c.oid = w.relation) then
            perform sidecar_internal.grant_table(w);
        end if;
    end loop;
end $$;

COMMENT ON FUNCTION sidecar.grant_worker(role regrole) IS 'Grants a role what `sidecar serve` needs when it connects as that role, for present and future watches. Owners of watched tables call it for their tables.';

CREATE FUNCTION sidecar.hybrid_search(relation regclass, query_vector public.vector, query_text text, target text DEFAULT NULL::text, document text[] DEFAULT NULL::text[], k integer DEFAULT 10, filter jsonb DEFAULT '{}'::jsonb, config regconfig DEFAULT 'english'::regconfig, candidates integer DEFAULT NULL::integer, rrf_constant integer DEFAULT 60, vector_weight double precision DEFAULT 1, text_weight double precision DEFAULT 1) RETURNS TABLE(key jsonb, score double precision, vector_rank bigint, text_rank bigint, distance double precision)
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $$
declare
    former jsonb;
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    words constant tsquery := sidecar_internal.word_query(config, query_text);
begin
    if k < 0 or candidates < 1 or rrf_constant < 0 then
        raise exception 'k must be 0 or more, candidates 1 or more, rrf_constant 0 or more' using errcode = 'invalid_parameter_value',
            hint = format('They are %s, %s and %s.', k, coalesce(candidates::text, 'unset'), rrf_constant);
    elsif vector_weight = 0 and text_weight = 0 then
        raise exception 'vector_weight and text_weight are both 0' using errcode = 'invalid_parameter_value',
            hint = 'Rows come in the order of their weighted ranks: give one of the two more than 0.';
    elsif w.kind <> 'text' and document is null then
        raise exception 'target % holds vectors of pictures, which have no text to match', quote_literal(w.target)
            using errcode = 'invalid_parameter_value', hint = 'Name text columns of the same table: document => array[''title''].';
    end if;
    former := sidecar_internal.prepare_scan(w, true);
    return query execute sidecar_internal.hybrid_statement(w, sidecar_internal.search_document(relation, coalesce(document, w.source), config),
                                                  sidecar_internal.filter_condition(w, filter, 't'))
        using query_vector, words, coalesce(candidates, greatest(4 * k::bigint, 100)), rrf_constant, vector_weight, text_weight, k;
    perform sidecar_internal.apply_settings(former);
end $$;

COMMENT ON FUNCTION sidecar.hybrid_search(relation regclass, query_vector public.vector, query_text text, target text, document text[], k integer, filter jsonb, config regconfig, candidates integer, rrf_constant integer, vector_weight double precision, text_weight double precision) IS 'The rows that are near a vector or match a text, best first: vector search and full-text search merged by reciprocal rank fusion. Runs with the rights of its caller.';

CREATE FUNCTION sidecar.installation(OUT revision text, OUT code_digest text) RETURNS record
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select '0029', '…' $$;

COMMENT ON FUNCTION sidecar.installation(OUT revision text, OUT code_digest text) IS 'The revision of the sidecar''s tables, and a digest of the installed functions and views.';

CREATE FUNCTION sidecar.labels(relation regclass, target text DEFAULT NULL::text, only_key jsonb DEFAULT NULL::jsonb, at_least double precision DEFAULT NULL::double precision) RETURNS TABLE(key jsonb, label text, probability double precision, cosine double precision)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    vector_table constant regclass := coalesce(w.companion, w.relation);
    vector_key constant text[] := sidecar_internal.exact_keys(w, vector_table, 'h');
    is_pair boolean;
begin
    perform sidecar_internal.check_labels(w);
    -- Normalized in subqueries of their own (offset 0): each vector is read and detoasted once, and not again for every pair.
    is_pair := w.kind = 'image' and exists (select from sidecar_internal.labels x where x.watch_id = w.id and x.scale is not null);
    if at_least is not null and not is_pair then
        raise exception 'labels of %.% have no probability: %', w.relation, quote_ident(w.target),
                case when w.kind = 'image' then 'the model has no scale and bias for it' else 'its rows are texts, and the model was trained on pictures with texts' end
            using errcode = 'invalid_parameter_value', hint = 'Leave at_least out, and order by cosine.';
    end if;
    return query execute format('
        select jsonb_build_object(%1$s), l.label, p.probability, c.cosine
        from (select %2$s, %4$s.l2_normalize(sidecar_internal.exactly(null::%8$s, h.%3$I)::%4$s.vector) as vector from %5$s h%6$s where h.%3$I is not null%7$s offset 0) n
        cross join (select x.label, %4$s.l2_normalize(x.vector::%4$s.vector) as vector, x.scale, x.bias from sidecar_internal.labels x
                    where x.watch_id = $1 offset 0) l
        cross join lateral (select -(n.vector operator(%4$s.<#>) l.vector) as cosine) c
        cross join lateral (select case when $3 then 1 / (1 + exp(-greatest(least(l.scale * c.cosine + l.bias, 600), -600))) end as probability) p
        where $4 is null or p.probability >= $4',
        sidecar_internal.key_fields(w, 'n'), sidecar_internal.for_each_key(w.key_columns, vector_key, '%3$s as k%1$s'), w.target, ext, vector_table,
        case when only_key is not null then format(' join %s on %s', sidecar_internal.typed_key(w, '$2'),
            sidecar_internal.for_each_key(w.key_columns, vector_key, '%3$s = r.k%1$s', ' and ')) else '' end,
        case when w.companion is not null then format(' and exists (select from %s t where %s)', w.relation,
            sidecar_internal.for_each_key(vector_key, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and ')) else '' end,
        sidecar_internal.stored_type(w))
        using w.id, case when only_key is not null then sidecar_internal.numbered_key(w, sidecar_internal.canonical_key(w, only_key)) end, is_pair, at_least;
end $_$;

COMMENT ON FUNCTION sidecar.labels(relation regclass, target text, only_key jsonb, at_least double precision) IS 'How well each label of sidecar.set_labels fits each row, or the row with only_key: cosine, and for pictures the model''s probability. Of the vectors as they are now; reads all of them.';

CREATE FUNCTION sidecar.pause(relation regclass DEFAULT NULL::regclass, target text DEFAULT NULL::text) RETURNS integer
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select sidecar_internal.set_paused(relation, target, true) $$;

COMMENT ON FUNCTION sidecar.pause(relation regclass, target text) IS 'Pauses one watch, all watches of a table, or (without arguments) all watches. Changes are recorded and embedded after sidecar.resume. Returns how many watches it changed.';

CREATE FUNCTION sidecar.recall(relation regclass, target text DEFAULT NULL::text, k integer DEFAULT 10, sample integer DEFAULT 200, filter jsonb DEFAULT '{}'::jsonb, ef_search integer[] DEFAULT NULL::integer[], max_s double precision DEFAULT 60) RETURNS TABLE(ef integer, recall double precision, lowest double precision, queries bigint, index_ms double precision, exact_ms double precision)
    LANGUAGE plpgsql ROWS 5
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION sidecar.recall(relation regclass, target text, k integer, sample integer, filter jsonb, ef_search integer[], max_s double precision) IS 'The share of the k nearest rows that a search through the index finds, measured against exact searches with rows of the table as queries, for each value of hnsw.ef_search or ivfflat.probes; with the median time of both. Without a filter the result is kept: sidecar.measured_recall.';

CREATE FUNCTION sidecar.reembed(relation regclass, target text DEFAULT NULL::text, model text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
begin
    -- FOR UPDATE waits for completions in flight; later ones see the changed fingerprint and discard their vectors.
    select * into strict w from sidecar_internal.watches x where x.id = w.id for update;
    if reembed.model not in (coalesce(w.fingerprint, ''), coalesce(w.encoder, '')) then
        perform sidecar_internal.check_move_to(w, reembed.model);
        update sidecar_internal.watches x set fingerprint = null, encoder = null, model = nullif(reembed.model, 'any') where x.id = w.id;
        if w.fingerprint is not null then
            perform sidecar_internal.start_scan(w.id, 'clear');
        end if;
    end if;
    perform sidecar_internal.start_scan(w.id, 'backfill', force => true);
    perform pg_notify('sidecar_watches', '');
end $$;

COMMENT ON FUNCTION sidecar.reembed(relation regclass, target text, model text) IS 'Embeds all rows of a watch again. model => a model id, a fingerprint or ''any'' moves the watch to another model of the same number of dimensions; the old vectors are cleared first.';

CREATE FUNCTION sidecar.renew_triggers(watch_id integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar_internal.watches;
    old record;
begin
    select * into w from sidecar_internal.watches x where x.id = watch_id and x.unwatched_at is null for share;
    if not found or not sidecar_internal.has_old_triggers(w) or sidecar_internal.structure_fault_v2(w) is not null then
        return false;
    end if;
    perform sidecar_internal.create_triggers(w);
    if w.companion is not null then
        perform sidecar_internal.create_deletion_trigger(w);
    end if;
    for old in select c.conname, c.conrelid::regclass as queue from pg_constraint c
               where c.conrelid = to_regclass(format('sidecar_internal.events_%s', w.id)) and c.contype = 'c' loop
        execute format('alter table %s drop constraint %I', old.queue, old.conname);
    end loop;
    return true;
end $$;

COMMENT ON FUNCTION sidecar.renew_triggers(watch_id integer) IS 'Replaces the triggers that an older version created for a watch with those of this version. Takes the number of the watch; returns false if there was nothing to do. `sidecar migrate` calls it and prints the call where a table was in use.';

CREATE FUNCTION sidecar.resume(relation regclass DEFAULT NULL::regclass, target text DEFAULT NULL::text) RETURNS integer
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select sidecar_internal.set_paused(relation, target, false) $$;

COMMENT ON FUNCTION sidecar.resume(relation regclass, target text) IS 'Resumes one watch, all watches of a table, or (without arguments) all watches. Returns how many it changed.';

CREATE FUNCTION sidecar.retry(relation regclass, target text DEFAULT NULL::text, key jsonb DEFAULT NULL::jsonb, reason text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "IntervalStyle" TO 'postgres'
    SET "TimeZone" TO 'UTC'
    SET lc_monetary TO 'C'
    AS $_$
declare
    w sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    wanted_key jsonb := case when key is not null then sidecar_internal.canonical_key(w, key) end;
    enqueued bigint;
    hopeless record;
begin
    perform pg_current_xact_id(); -- assigned before a generation is drawn: see read_horizon
    perform sidecar_internal.free_generation(w.id);
    execute format('insert into sidecar_internal.events_%s (%s, force) select %s, true from sidecar_internal.failures d cross join lateral %s
                    where d.watch_id = $1 and ($2 is null or d.key = $2) and ($3 is null or d.reason = $3) and r.k1 is not null',
        w.id, sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'), sidecar_internal.for_each_key(w.key_columns, null, 'r.k%1$s'),
        sidecar_internal.typed_key(w, 'sidecar_internal.numbered_key($4, coalesce(d.wide_key, d.key))'))
        using w.id, sidecar_internal.failure_key(wanted_key), reason, w;
    get diagnostics enqueued = row_count;
    if enqueued > 0 then
        perform sidecar_internal.wake_sleepers(w.id);
    elsif reason is not null and not exists (select from sidecar_internal.failures d where d.watch_id = w.id and d.reason = retry.reason) then
        raise warning 'no row of %.% failed with the reason %', w.relation, quote_ident(w.target), quote_literal(reason)
            using hint = coalesce((select 'Reasons of its failures: ' || string_agg(distinct d.reason, ', ' order by d.reason) || '.'
                                   from sidecar_internal.failures d where d.watch_id = w.id), 'It has no failures.');
    end if;
    for hopeless in
        select d.reason, count(*) as n from sidecar_internal.failures d
        where d.watch_id = w.id and (wanted_key is null or d.key = sidecar_internal.failure_key(wanted_key))
          and (retry.reason is null or d.reason = retry.reason) and not sidecar_internal.retry_helps(d.reason)
        group by d.reason order by d.reason
    loop
        raise warning '% of %.% failed with %, and will fail again until the content changes',
                      case hopeless.n when 1 then '1 row' else hopeless.n || ' rows' end, w.relation, quote_ident(w.target), hopeless.reason
            using hint = concat_ws(' ', sidecar_internal.advice_on(hopeless.reason), 'To find the rows:',
                                   coalesce(sidecar_internal.rows_statement(w, hopeless.reason), 'select * from sidecar.failures;'));
    end loop;
    return enqueued;
end $_$;

COMMENT ON FUNCTION sidecar.retry(relation regclass, target text, key jsonb, reason text) IS 'Enqueues failed rows of a watch again: one key, all failures with one reason, or all. Returns how many. Warns of rows that fail again unless their content changes.';

CREATE FUNCTION sidecar.revoke_grants(role regrole) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar_internal.watches;
    object text;
begin
    perform sidecar_internal.check_role(role);
    for w in select * from sidecar_internal.watches x where exists (select from sidecar_internal.roles() r where r.role = revoke_grants.role and r.kind = 'worker')
             and exists (select from pg_class c where c.oid = x.relation and pg_has_role(c.relowner, 'usage') and c.relowner <> role) loop
        execute format('revoke all (%s) on %s from %s', concat_ws(', ', (sidecar_internal.columns_of(w)).readable), w.relation, role);
        if exists (select from pg_class c where c.oid = w.companion) then
            execute format('revoke all on %s from %s', w.companion, role);
        end if;
    end loop;
    foreach object in array array['all tables in', 'all sequences in', 'all routines in', ''] loop
        execute format('revoke all on %s schema sidecar, sidecar_internal from %s', object, role);
    end loop;
end $$;

COMMENT ON FUNCTION sidecar.revoke_grants(role regrole) IS 'Revokes everything that grant_worker and grant_reader granted to a role.';

CREATE FUNCTION sidecar.search(relation regclass, query_vector text, target text DEFAULT NULL::text, k integer DEFAULT 10) RETURNS TABLE(key jsonb, distance double precision)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select s.key, s.distance from sidecar.search(relation, query_vector, '{}'::jsonb, target, k) s;
$$;

COMMENT ON FUNCTION sidecar.search(relation regclass, query_vector text, target text, k integer) IS 'The k rows nearest to a vector, passed as text, or to a text, which is embedded as sidecar.embed does it: keys and cosine distances (0 to 2), nearest first, through the index.';

CREATE FUNCTION sidecar.search(relation regclass, query_vector text, filter jsonb, target text DEFAULT NULL::text, k integer DEFAULT 10) RETURNS TABLE(key jsonb, distance double precision)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    former jsonb;
    w sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    ext text := quote_ident(sidecar_internal.vector_schema());
    compared constant record := sidecar_internal.compared_type(w);
    type text := format('%s.%s(%s)', ext, compared.name, w.dimensions);
    vector_table constant regclass := coalesce(w.companion, w.relation);
    vector_key constant text[] := sidecar_internal.exact_keys(w, vector_table, 'h');
    row_name constant text := case when w.companion is null then 'h' else 't' end;
    condition constant text := sidecar_internal.filter_condition(w, filter, row_name);
    nearest_to text := query_vector;
    measure text := format('sidecar_internal.exactly(null::%s, h.%I)%s operator(%s.<=>) $1::%s', sidecar_internal.stored_type(w), w.target, case when compared.is_cast then '::' || type else '' end, ext, type);
begin
    if search.k is null or search.k < 1 then
        raise exception 'k is %', coalesce(search.k::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Give the number of rows, for example 10.';
    elsif query_vector !~ '^\s*\[[-+0-9.eE,\s]*\]\s*$' then
        nearest_to := sidecar_internal.embed_in_statement(sidecar_internal.query_model_of(w), 'text', convert_to(query_vector, 'UTF8'), 10000);
    end if;
    former := sidecar_internal.prepare_scan(w, true);
    -- + 0: sorted again, because not every method gives rows strictly in order, and the planner believes that it does.
    return query execute format('select jsonb_build_object(%s), r.distance from (select %s, (%s)::float8 as distance from %s h where h.%I is not null%s
                                 order by %s limit $2) r order by r.distance + 0',
        sidecar_internal.key_fields(w, 'r'), sidecar_internal.for_each_key(w.key_columns, vector_key, '%3$s as k%1$s'), measure, vector_table, w.target,
        case when w.companion is not null then format(' and exists (select from %s t where %s%s)', w.relation,
            sidecar_internal.for_each_key(vector_key, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and '), condition) else condition end, measure)
        using nearest_to, k;
    perform sidecar_internal.apply_settings(former);
end $_$;

COMMENT ON FUNCTION sidecar.search(relation regclass, query_vector text, filter jsonb, target text, k integer) IS 'The k rows nearest to a vector, passed as text, or to a text, which is embedded as sidecar.embed does it, among those that meet a filter: keys and cosine distances (0 to 2), nearest first, through the index.';

CREATE FUNCTION sidecar.search_exposed(relation regclass, query_vector real[], target text DEFAULT NULL::text, k integer DEFAULT 10, filter jsonb DEFAULT '{}'::jsonb, columns text[] DEFAULT NULL::text[], document text[] DEFAULT '{}'::text[]) RETURNS TABLE(key json, distance double precision, shown json, document_text text)
    LANGUAGE sql STABLE ROWS 10
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select s.key, s.distance, s.shown, s.document_text
        from sidecar.search_page(relation, query_vector, target, k, filter, columns, document) s;
$$;

COMMENT ON FUNCTION sidecar.search_exposed(relation regclass, query_vector real[], target text, k integer, filter jsonb, columns text[], document text[]) IS 'The k rows nearest to a vector, with the columns that the watch exposes, filtered by key and exposed columns: the first page of sidecar.search_page.';

CREATE FUNCTION sidecar.search_page(relation regclass, query_vector real[], target text DEFAULT NULL::text, k integer DEFAULT 10, filter jsonb DEFAULT '{}'::jsonb, columns text[] DEFAULT NULL::text[], document text[] DEFAULT '{}'::text[], skip integer DEFAULT 0, after jsonb DEFAULT NULL::jsonb) RETURNS TABLE(key json, distance double precision, shown json, document_text text, place jsonb)
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    former jsonb;
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    wanted constant text[] := coalesce(columns, sidecar_internal.exposed_columns(w));
    before constant bigint := coalesce((after->>'n')::bigint, 0);
    depth constant bigint := before + coalesce(skip, 0) + coalesce(k, 0);
begin
    if k is null or k < 1 then
        raise exception 'k is %', coalesce(k::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Give the number of rows, for example 10.';
    elsif skip is null or skip < 0 then
        raise exception 'skip is %', coalesce(skip::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Give the number of rows to leave out, for example 10.';
    elsif depth > 100000 then
        raise exception 'the page ends at row % of the search', depth
            using errcode = 'program_limit_exceeded', hint = 'Pages end at row 100000. A filter narrows the search.';
    elsif after is not null and not coalesce(jsonb_typeof(after->'distance') = 'number' and after->'key' ?& w.key_columns and before >= 0, false) then
        raise exception 'after is %, which is not the place of a row', after using errcode = 'invalid_parameter_value', column = 'after',
            hint = 'Give the place of the row with the greatest n of the page before.';
    end if;
    perform sidecar_internal.check_shown(array[w], wanted, document);
    -- Not strict, because the statement sorts what was found: measured with a filter that 1 of 200 rows meets (ef_search = 40),
    -- strict_order finds 79 % of the nearest, this 94 %, and no iteration 3 %.
    former := sidecar_internal.prepare_scan(w, false, 2 * depth, 20 * depth);
    return query execute sidecar_internal.search_page_statement(w, wanted, filter, document, after is not null)
        using query_vector, k, skip, before, (after->>'distance')::float8, sidecar_internal.numbered_key(w, after->'key');
    perform sidecar_internal.apply_settings(former);
end $$;

COMMENT ON FUNCTION sidecar.search_page(relation regclass, query_vector real[], target text, k integer, filter jsonb, columns text[], document text[], skip integer, after jsonb) IS 'A page of the rows nearest to a vector: those after `skip` rows, or after the place of a row, with the columns that the watch exposes, filtered by key and exposed columns.';

CREATE FUNCTION sidecar.search_targets(relation regclass, query_vector text, targets text[], k integer DEFAULT 10, filter jsonb DEFAULT '{}'::jsonb, columns text[] DEFAULT NULL::text[], document text[] DEFAULT '{}'::text[], weights double precision[] DEFAULT NULL::double precision[], candidates integer DEFAULT NULL::integer, rrf_constant integer DEFAULT 60) RETURNS TABLE(key json, score double precision, distance double precision, distances json, ranks json, shown json, document_text text)
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    former jsonb := '{}';
    searched sidecar_internal.watches;
    watches constant sidecar_internal.watches[] := sidecar_internal.watches_of_targets(relation, targets);
    wanted constant text[] := coalesce(columns, sidecar_internal.exposed_by_all(watches));
    -- Numbered from 1, in one dimension, whatever the caller's array is.
    weighted constant double precision[] := case when weights is null then array_fill(1::double precision, array[cardinality(targets)])
        else array(select x.weight from unnest(weights) with ordinality x(weight, n) order by x.n) end;
    proposed constant bigint := coalesce(candidates, greatest(4 * k::bigint, 100));
    embedded constant sidecar_internal.watches := (select x from unnest(watches) x order by x.fingerprint is null limit 1);
    nearest_to text := query_vector;
begin
    if k is null or k < 1 or proposed < 1 or rrf_constant is null or rrf_constant < 0 then
        raise exception 'k and candidates must be 1 or more, rrf_constant 0 or more' using errcode = 'invalid_parameter_value',
            hint = format('They are %s, %s and %s.', coalesce(k::text, 'NULL'), coalesce(candidates::text, 'unset'), coalesce(rrf_constant::text, 'NULL'));
    elsif cardinality(weighted) <> cardinality(targets) or exists (select from unnest(weighted) x(weight) where (x.weight >= 0 and x.weight < 'infinity') is not true) then
        raise exception 'weights are %, of % targets', weighted, cardinality(targets) using errcode = 'invalid_parameter_value',
            hint = 'Give a weight of 0 or more for each target: weights => array[1, 0.5].';
    elsif 0 = all (weighted) then
        raise exception 'all weights are 0' using errcode = 'invalid_parameter_value', hint = 'Rows come in the order of their weighted ranks: give a target more than 0.';
    end if;
    perform sidecar_internal.check_shown(watches, wanted, document);
    if query_vector !~ '^\s*\[[-+0-9.eE,\s]*\]\s*$' then
        nearest_to := sidecar_internal.embed_in_statement(sidecar_internal.query_model_of(embedded), 'text', convert_to(query_vector, 'UTF8'), 10000);
    end if;
    -- As in search_page, but strict: the places are counted in the order of the index. Targets may have indexes of several methods.
    foreach searched in array watches loop
        former := sidecar_internal.prepare_scan(searched, true, proposed, 20 * proposed) || former;
    end loop;
    return query execute sidecar_internal.search_targets_statement(watches, filter, wanted, document)
        using nearest_to, weighted, proposed, rrf_constant, k;
    perform sidecar_internal.apply_settings(former);
end $_$;

COMMENT ON FUNCTION sidecar.search_targets(relation regclass, query_vector text, targets text[], k integer, filter jsonb, columns text[], document text[], weights double precision[], candidates integer, rrf_constant integer) IS 'The rows that are nearest to a vector, or to a text, in several vector columns of a table, best first: the nearest rows of each, merged by reciprocal rank fusion, with the columns that all of these watches expose.';

CREATE FUNCTION sidecar.set_labels(relation regclass, labels text[], target text DEFAULT NULL::text, template text DEFAULT '{}'::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    faulty text;
begin
    if labels is null or cardinality(labels) > 1000 then
        raise exception '%', coalesce(cardinality(labels) || ' labels', 'labels is NULL') using errcode = 'invalid_parameter_value',
            hint = 'Give up to 1000, or ''{}'' to have none.';
    elsif template is null or position('{}' in template) = 0 then
        raise exception 'template is %', coalesce(quote_literal(template), 'NULL') using errcode = 'invalid_parameter_value',
            hint = 'It needs {} where the label goes: template => ''a photo of a {}''.';
    end if;
    select coalesce(quote_literal(l.label), 'NULL') into faulty from unnest(labels) l(label)
        where l.label is null or l.label !~ '[^[:space:][:punct:]]' or length(l.label) > 1000 limit 1;
    if found then
        raise exception 'a label is %', left(faulty, 100) using errcode = 'invalid_parameter_value', hint = 'A label is a text of 1 to 1000 characters.';
    end if;
    select quote_literal(l.label) into faulty from unnest(labels) l(label) group by l.label having count(*) > 1 limit 1;
    if found then
        raise exception 'label % is there twice', faulty using errcode = 'duplicate_object', hint = 'Name it once.';
    end if;
    -- Calls for one watch come one after another.
    perform from sidecar_internal.watches x where x.id = w.id for no key update;
    delete from sidecar_internal.labels x where x.watch_id = w.id and x.label <> all (labels);
    insert into sidecar_internal.labels as x (watch_id, label, position, prompt)
        select w.id, l.label, l.position, replace(template, '{}', l.label) from unnest(labels) with ordinality l(label, position)
        on conflict (watch_id, label) do update set position = excluded.position, prompt = excluded.prompt,
            fingerprint = case when x.prompt = excluded.prompt then x.fingerprint end, vector = case when x.prompt = excluded.prompt then x.vector end,
            error = case when x.prompt = excluded.prompt then x.error end;
end $$;

COMMENT ON FUNCTION sidecar.set_labels(relation regclass, labels text[], target text, template text) IS 'Sets the words that sidecar.labels compares the rows of a watch with, in place of earlier ones: sidecar.set_labels(''products'', array[''mug'', ''chair''], template => ''a photo of a {}'').';

CREATE FUNCTION sidecar.set_rate(relation regclass DEFAULT NULL::regclass, target text DEFAULT NULL::text, rows_per_s double precision DEFAULT NULL::double precision) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    meant constant integer[] := array(select m.id from sidecar_internal.watches_meant(relation, target) m);
    changed integer;
begin
    if set_rate.rows_per_s <= 0 or set_rate.rows_per_s in ('nan', 'infinity') then
        raise exception 'rows_per_s is %', set_rate.rows_per_s using errcode = 'invalid_parameter_value',
            hint = 'Give a number above 0 (0.5 is a row every two seconds), or NULL for no cap; sidecar.pause stops a watch.';
    end if;
    update sidecar_internal.watches w set rows_per_s = set_rate.rows_per_s
        where w.unwatched_at is null and w.rows_per_s is distinct from set_rate.rows_per_s
          and w.id = any (meant);
    get diagnostics changed = row_count;
    perform pg_notify('sidecar_watches', '');
    return changed;
end $$;

COMMENT ON FUNCTION sidecar.set_rate(relation regclass, target text, rows_per_s double precision) IS 'Limits a watch, all watches of a table, or all watches to a number of rows per second, over all sidecars together. NULL removes the limit. Returns how many watches it changed.';

CREATE FUNCTION sidecar_internal.status_of(only_relation regclass, exact boolean) RETURNS TABLE(relation regclass, target text, kind text, source text[], companion regclass, state text, rows bigint, embedded bigint, pending bigint, failed bigint, empty bigint, truncated bigint, coverage numeric, oldest_pending interval, lag_ms double precision, index text, model text, fingerprint text, query text, estimated boolean, watch_id integer, index_statement text, rows_per_s double precision, companion_view regclass, unreadable bigint, outdated bigint, retrying bigint, health text, storage text, recall double precision, recall_k integer, recall_ef_search integer, recall_at timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
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

CREATE VIEW sidecar.status AS
 SELECT relation,
    target,
    kind,
    source,
    companion,
    state,
    rows,
    embedded,
    pending,
    failed,
    empty,
    truncated,
    coverage,
    oldest_pending,
    lag_ms,
    index,
    model,
    fingerprint,
    query,
    estimated,
    watch_id,
    index_statement,
    rows_per_s,
    companion_view,
    unreadable,
    outdated,
    retrying,
    health,
    storage,
    recall,
    recall_k,
    recall_ef_search,
    recall_at
   FROM sidecar_internal.status_of(NULL::regclass, false) status_of(relation, target, kind, source, companion, state, rows, embedded, pending, failed, empty, truncated, coverage, oldest_pending, lag_ms, index, model, fingerprint, query, estimated, watch_id, index_statement, rows_per_s, companion_view, unreadable, outdated, retrying, health, storage, recall, recall_k, recall_ef_search, recall_at);

COMMENT ON VIEW sidecar.status IS 'Active watches: state, progress, index and query of each. Numbers of large tables are estimates; see sidecar.status_exact.';

COMMENT ON COLUMN sidecar.status.state IS 'What the watch is doing, or why it does nothing and what to run.';

COMMENT ON COLUMN sidecar.status.rows IS 'Rows of the table.';

COMMENT ON COLUMN sidecar.status.embedded IS 'Rows that have a vector.';

COMMENT ON COLUMN sidecar.status.pending IS 'Rows that are still to be embedded, or embedded again.';

COMMENT ON COLUMN sidecar.status.failed IS 'Rows that cannot be embedded: see sidecar.failures.';

COMMENT ON COLUMN sidecar.status.empty IS 'Rows without content; their vector is NULL.';

COMMENT ON COLUMN sidecar.status.truncated IS 'Texts that are longer than the model reads: their ends do not affect the vectors. See sidecar.truncated_texts.';

COMMENT ON COLUMN sidecar.status.coverage IS 'Percentage of the rows with content that have a vector, an outdated one or not.';

COMMENT ON COLUMN sidecar.status.oldest_pending IS 'How long the oldest pending change has waited.';

COMMENT ON COLUMN sidecar.status.lag_ms IS 'Milliseconds from commit to vector, mean of the last changes.';

COMMENT ON COLUMN sidecar.status.index IS 'The index, or why there is none.';

COMMENT ON COLUMN sidecar.status.fingerprint IS 'The model and its settings that the stored vectors were made with.';

COMMENT ON COLUMN sidecar.status.query IS 'The nearest-neighbour query that uses the index. $1 is the query vector.';

COMMENT ON COLUMN sidecar.status.estimated IS 'Whether rows, embedded and pending are estimates.';

COMMENT ON COLUMN sidecar.status.watch_id IS 'Number of the watch, as in sidecar.renew_triggers and in the logs.';

COMMENT ON COLUMN sidecar.status.index_statement IS 'What an owner has to run to build the index; NULL if nothing is left to do.';

COMMENT ON COLUMN sidecar.status.unreadable IS 'Texts of which the model''s tokenizer knows hardly a word. See sidecar.unreadable_texts.';

COMMENT ON COLUMN sidecar.status.outdated IS 'Of the embedded rows, those that are pending: they keep their present vector until they are embedded again.';

COMMENT ON COLUMN sidecar.status.retrying IS 'Of the failed rows, those that are pending: they changed, or were retried.';

COMMENT ON COLUMN sidecar.status.health IS 'problem (rows are not embedded until someone acts), warning (rows failed, the watch is paused, or its index cannot be built), working or ok.';

COMMENT ON COLUMN sidecar.status.storage IS 'The type that the vectors are stored as: vector (4 bytes a number) or halfvec (2 bytes).';

COMMENT ON COLUMN sidecar.status.recall IS 'The share of the recall_k nearest rows that a search with the database''s hnsw.ef_search or ivfflat.probes finds, as last measured by sidecar.recall; NULL if the present index was not measured.';

COMMENT ON COLUMN sidecar.status.recall_ef_search IS 'What it was measured with: the database''s value, or the next smaller one.';

COMMENT ON COLUMN sidecar.status.recall_at IS 'When it was measured.';

CREATE FUNCTION sidecar.status_exact(relation regclass) RETURNS SETOF sidecar.status
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform sidecar_internal.watches_meant(relation, null);
    return query select * from sidecar_internal.status_of(relation, true);
end $$;

COMMENT ON FUNCTION sidecar.status_exact(relation regclass) IS 'sidecar.status with every number counted instead of estimated, for one table or (NULL) all.';

CREATE FUNCTION sidecar.truncated_texts(relation regclass, target text DEFAULT NULL::text, max_rows integer DEFAULT 1000) RETURNS TABLE(key jsonb, embedded_at timestamp with time zone)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select t.key, t.embedded_at from sidecar_internal.texts_with('truncated', relation, target, max_rows) t
$$;

COMMENT ON FUNCTION sidecar.truncated_texts(relation regclass, target text, max_rows integer) IS 'Rows of a watch whose text is longer than the model reads: its end does not affect the vector. In the order of the key, max_rows (NULL: all) at most.';

CREATE FUNCTION sidecar.uninstall(force boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    running text := (select string_agg(format('%s (process %s)', s.host, s.pid), ', ') from sidecar_internal.sidecars s
                     where s.seen_at > clock_timestamp() - interval '30 s');
    users text := sidecar_internal.used_by_others();
    limits constant record := sidecar_internal.wait_limits();
    w sidecar_internal.watches;
    remains jsonb;
    stays record;
begin
    if running is not null and not force then
        raise exception 'a sidecar is running on this database: %', running using errcode = 'object_in_use',
            hint = 'Stop it first (one that was killed is forgotten after 30 s), or use force.';
    elsif users is not null then
        raise exception 'schema sidecar is used by %', users using errcode = 'dependent_objects_still_exist',
            hint = 'They would be dropped with it: drop or change them first.';
    end if;
    for attempt in 1 .. limits.tries loop
        begin
            perform set_config('lock_timeout', limits.theirs, true);
            perform from sidecar_internal.watches x order by x.id for update;
            -- All of them at once: revoke_table leaves what other watches of the table need.
            update sidecar_internal.watches x set unwatched_at = now() where x.unwatched_at is null;
            for w in select * from sidecar_internal.watches x order by x.id loop
                perform sidecar_internal.release_tables(w, limits);
                perform sidecar_internal.revoke_table(w);
            end loop;
            remains := (select jsonb_agg(r) from sidecar_internal.remains_of_all() r);
            perform sidecar.disable_embed();
            perform sidecar_internal.drop_schemas();
            perform set_config('lock_timeout', limits.own, true);
            for stays in select r.what, r.statement from jsonb_to_recordset(remains) r(what text, statement text) loop
                raise notice '% stays', stays.what using hint = 'To remove it: ' || stays.statement;
            end loop;
            return;
        exception when lock_not_available then
            null; -- The try is undone, and users' tables are unlocked.
        end;
    end loop;
    perform sidecar_internal.raise_in_use(w.relation, w.companion, null, limits.own, limits.began);
end $$;

COMMENT ON FUNCTION sidecar.uninstall(force boolean) IS 'Removes schemas sidecar and sidecar_internal and the sidecar''s triggers. The vectors are kept. force => true does it even while a sidecar is running.';

CREATE FUNCTION sidecar.unreadable_texts(relation regclass, target text DEFAULT NULL::text, max_rows integer DEFAULT 1000) RETURNS TABLE(key jsonb, embedded_at timestamp with time zone)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select t.key, t.embedded_at from sidecar_internal.texts_with('unreadable', relation, target, max_rows) t
$$;

COMMENT ON FUNCTION sidecar.unreadable_texts(relation regclass, target text, max_rows integer) IS 'Rows of a watch with a text of which the model''s tokenizer knows hardly a word, so that its vector means little. In the order of the key, at most max_rows (NULL: all).';

CREATE FUNCTION sidecar.unwatch(relation regclass, target text DEFAULT NULL::text, drop_target boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar_internal.watches;
    limits constant record := sidecar_internal.wait_limits();
begin
    if exists (select from pg_class c where c.oid = unwatch.relation) then
        perform sidecar_internal.follow_changes(relation);
    end if;
    w := sidecar_internal.watch_to_end(relation, target, drop_target);
    for attempt in 1 .. limits.tries loop
        begin
            perform sidecar_internal.end_watch(w.id, relation, drop_target, limits);
            perform set_config('lock_timeout', limits.own, true);
            perform pg_notify('sidecar_watches', '');
            perform sidecar_internal.report_remains(w);
            return;
        exception when lock_not_available then
            null; -- The try is undone, and the user's table is unlocked.
        end;
    end loop;
    perform sidecar_internal.raise_in_use(w.relation, w.companion, w.id, limits.own, limits.began);
end $$;

COMMENT ON FUNCTION sidecar.unwatch(relation regclass, target text, drop_target boolean) IS 'Ends a watch. The vectors stay, and watching again embeds only what has changed since; drop_target => true drops the vectors too. target may be omitted where the table has one watch.';

CREATE FUNCTION sidecar.verify(relation regclass, target text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
begin
    perform sidecar_internal.start_scan(w.id, 'verify');
    perform pg_notify('sidecar_watches', '');
end $$;

COMMENT ON FUNCTION sidecar.verify(relation regclass, target text) IS 'Has a running sidecar compare every row and vector of a watch with what it recorded, and enqueue what differs. Progress is in sidecar.scans.';

CREATE PROCEDURE sidecar.wait_embedded(IN relation regclass, IN key jsonb, IN target text DEFAULT NULL::text, IN timeout_ms integer DEFAULT 5000)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar_internal.watches;
    deadline timestamptz := clock_timestamp() + make_interval(secs => timeout_ms / 1000.0);
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'wait_embedded cannot see what others commit under %', current_setting('transaction_isolation')
            using errcode = 'object_not_in_prerequisite_state', hint = 'Call it outside a transaction, or under READ COMMITTED.';
    elsif timeout_ms is null or timeout_ms < 0 then
        raise exception 'timeout_ms is %', coalesce(timeout_ms::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Give the longest wait in milliseconds, for example 5000.';
    end if;
    if wait_embedded.relation is null then
        perform sidecar_internal.get_watch(relation, target);
    end if;
    for w in select * from sidecar_internal.watches_meant(wait_embedded.relation, wait_embedded.target) loop
        perform sidecar_internal.wait_one_embedded(w, sidecar_internal.canonical_key(w, key), deadline, timeout_ms);
    end loop;
end $$;

COMMENT ON PROCEDURE sidecar.wait_embedded(IN relation regclass, IN key jsonb, IN target text, IN timeout_ms integer) IS 'Waits until the vector of a row is that of its present content. Call it after COMMIT. Raises SC001 after timeout_ms, SC002 if the row cannot be embedded, 02000 if there is no such row.';

CREATE FUNCTION sidecar.watch(relation regclass, source text[], target text DEFAULT NULL::text, kind text DEFAULT NULL::text, companion text DEFAULT NULL::text, dimensions integer DEFAULT 1152, model text DEFAULT NULL::text, index text DEFAULT 'halfvec'::text, replace boolean DEFAULT false, expose text[] DEFAULT '{}'::text[], storage text DEFAULT NULL::text) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    companion_name constant text := sidecar_internal.companion_name(relation, companion);
    limits constant record := sidecar_internal.wait_limits();
    wanted sidecar_internal.watches;
    made integer;
begin
    perform sidecar_internal.follow_changes(relation, target);
    wanted.relation := relation; wanted.source := source; wanted.target := target; wanted.kind := kind;
    wanted.dimensions := dimensions; wanted.index_kind := index; wanted.model := model;
    wanted.expose := expose; wanted.storage := storage;
    wanted := sidecar_internal.checked_watch(wanted, companion_name);
    perform sidecar_internal.check_owner(relation);
    perform sidecar_internal.try_index_options(wanted);
    for attempt in 1 .. limits.tries loop
        begin
            made := sidecar_internal.try_watch(wanted, companion_name, replace, limits);
            perform set_config('lock_timeout', limits.own, true);
            return coalesce(made, sidecar.watch(relation, source, target, kind, companion, dimensions, model, index, replace, expose, storage));
        exception when lock_not_available then
            null; -- The try is undone, and the user's table is unlocked.
        end;
    end loop;
    perform sidecar_internal.raise_in_use(relation, wanted.companion, (sidecar_internal.find_watch(relation, wanted.target)).id, limits.own, limits.began);
end $$;

COMMENT ON FUNCTION sidecar.watch(relation regclass, source text[], target text, kind text, companion text, dimensions integer, model text, index text, replace boolean, expose text[], storage text) IS 'Keeps a vector of one or more source columns up to date, in a column of the table or in a companion table, for present rows and for each change from now on. Returns the number of the watch. Repeating the call changes nothing but repairs what is missing; replace => true changes a watch.';

CREATE FUNCTION sidecar.watch(relation regclass, source text, target text DEFAULT NULL::text, kind text DEFAULT NULL::text, companion text DEFAULT NULL::text, dimensions integer DEFAULT 1152, model text DEFAULT NULL::text, index text DEFAULT 'halfvec'::text, replace boolean DEFAULT false, expose text[] DEFAULT '{}'::text[], storage text DEFAULT NULL::text) RETURNS integer
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select sidecar.watch(relation, array[source], target, kind, companion, dimensions, model, index, replace, expose, storage);
$$;

COMMENT ON FUNCTION sidecar.watch(relation regclass, source text, target text, kind text, companion text, dimensions integer, model text, index text, replace boolean, expose text[], storage text) IS 'As sidecar.watch with an array of source columns, for one source column.';

CREATE FUNCTION sidecar_internal.activate_queue(watch_id integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if not exists (select from sidecar_internal.watches w where w.id = watch_id and w.unwatched_at is null) then
        return false;
    end if;
    perform setval(format('sidecar_internal.asleep_%s', watch_id), 1);
    return true;
end $$;

CREATE TABLE sidecar_internal.watches (
    id integer NOT NULL,
    relation regclass NOT NULL,
    key_columns text[] NOT NULL,
    key_types text[] NOT NULL,
    kind text NOT NULL,
    source text[] NOT NULL,
    target text NOT NULL,
    companion regclass,
    dimensions integer NOT NULL,
    index_kind text NOT NULL,
    model text,
    fingerprint text,
    encoder text,
    truncated_gen bigint DEFAULT 0 NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    broken text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    unwatched_at timestamp with time zone,
    companion_view regclass,
    moved_from regclass,
    moved_fingerprint text,
    rows_per_s double precision,
    expose text[] DEFAULT '{}'::text[] NOT NULL,
    storage text DEFAULT 'vector'::text NOT NULL,
    index_method text DEFAULT 'hnsw'::text NOT NULL,
    index_options text[] DEFAULT '{}'::text[] NOT NULL,
    CONSTRAINT watches_check CHECK (((cardinality(key_columns) >= 1) AND (cardinality(key_columns) = cardinality(key_types)))),
    CONSTRAINT watches_check1 CHECK (((kind = 'text'::text) OR (cardinality(source) = 1))),
    CONSTRAINT watches_dimensions_check CHECK (((dimensions >= 1) AND (dimensions <= 16000))),
    CONSTRAINT watches_expose_check CHECK (((array_position(expose, NULL::text) IS NULL) AND (COALESCE(array_ndims(expose), 1) = 1))),
    CONSTRAINT watches_index_kind_check CHECK ((index_kind = ANY (ARRAY['halfvec'::text, 'vector'::text, 'none'::text]))),
    CONSTRAINT watches_kind_check CHECK ((kind = ANY (ARRAY['text'::text, 'image'::text]))),
    CONSTRAINT watches_rows_per_s_check CHECK ((rows_per_s > (0)::double precision)),
    CONSTRAINT watches_source_check CHECK ((cardinality(source) >= 1)),
    CONSTRAINT watches_storage_check CHECK ((storage = ANY (ARRAY['vector'::text, 'halfvec'::text])))
);

CREATE FUNCTION sidecar_internal.add_target(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    execute format('alter table %s add column %I %s(%s)', w.relation, w.target, sidecar_internal.stored_type(w), w.dimensions);
end $$;

CREATE FUNCTION sidecar_internal.advice_on(reason text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case reason
        when 'not_a_picture' then 'Replace the content with a picture, or set it to NULL; the row is then tried again automatically.'
        when 'truncated_picture' then 'The file is cut off or damaged: replace it with the whole file, or set it to NULL; the row is then tried again automatically.'
        when 'unsupported_format' then 'Convert the picture to JPEG or PNG, or set it to NULL; the row is then tried again automatically.'
        when 'too_many_pixels' then 'Scale the picture down, and the row is tried again automatically; or raise MAX_IMAGE_PIXELS, restart the sidecar, and retry.'
        when 'too_many_bytes' then 'Make the content smaller, and the row is tried again automatically; or raise the limit that the message names, restart the sidecar, and retry.'
        when 'decode_timeout' then 'Raise DECODE_TIMEOUT_S, or give the machine more CPUs; restart the sidecar, and retry.'
        when 'decode_crashed' then 'Save the picture again in another program, and the row is tried again automatically; or raise DECODE_MEMORY_BYTES, restart the sidecar, and retry.'
        when 'decode_out_of_memory' then 'Scale the picture down, and the row is tried again automatically; or raise DECODE_MEMORY_BYTES, restart the sidecar, and retry.'
        when 'no_vector' then 'Change the content, and the row is tried again automatically; or set MODEL_PRECISION=fp32, restart the sidecar, and retry.'
        when 'device_out_of_memory' then 'Lower BATCH_MAX_VIEWS, or free memory on the device; restart the sidecar, and retry.'
        when 'device_error' then 'The sidecar''s log has the error of the device: repair its driver or hardware, restart the sidecar, and retry.'
        when 'worker_crashed' then 'The sidecar''s log says what ended it: fix that, and retry.'
        when 'read_rejected' then 'Repair the value, and the row is tried again automatically; or repair the function, view or storage that it comes from, and retry.'
        when 'write_rejected' then 'A constraint, trigger or right of the table refused the vector: change it, and retry.'
        when 'write_suppressed' then 'A BEFORE trigger of the table dropped or changed the write of the vector: change it, and retry.'
        else 'The message says what was wrong: fix that, and retry.' end;
$$;

CREATE FUNCTION sidecar_internal.advise_on_model(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when s.dimensions = w.dimensions
                then format('to move it there: select sidecar.reembed(%L, %L, model => %L)', w.relation, w.target, s.fingerprint)
                else format('watch another target, with dimensions => %s', s.dimensions) end
        from sidecar_internal.sidecars s
        where s.seen_at > clock_timestamp() - interval '30 s'
        order by s.dimensions <> w.dimensions, s.started_at limit 1
$$;

CREATE FUNCTION sidecar_internal.advise_on_storage(w sidecar_internal.watches, present text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format(case when exists (select from sidecar_internal.watches x
                                    where x.relation = w.relation and x.target = w.target and x.unwatched_at is null)
        then 'Leave storage out to keep %1$s. To change it, name a new table: sidecar.watch(..., companion => ''some_table'', storage => ''%2$s'', '
             'replace => true) copies the vectors there; none is computed again.'
        else 'Say storage => ''%1$s'', or run: %7$salter table %3$s alter column %4$I type %5$s(%6$s);' end,
        present, w.storage, coalesce(w.companion, w.relation), w.target, sidecar_internal.stored_type(w), w.dimensions,
        (select string_agg(format('drop index %s; ', i.indexrelid::regclass), '' order by i.indexrelid)
         from pg_attribute a join pg_index i on i.indrelid = a.attrelid and a.attnum = any (i.indkey)
         where a.attrelid = coalesce(w.companion, w.relation) and a.attname = w.target));
$_$;

CREATE FUNCTION sidecar_internal.apply_renames(w sidecar_internal.watches, present sidecar_internal.watches) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '250ms'
    AS $$
begin
    -- A former watch of the column that had this name: its ledger describes vectors that are gone.
    perform sidecar_internal.forget_watch(x.id) from sidecar_internal.watches x
        where x.relation = w.relation and x.target = present.target and x.id <> w.id and x.unwatched_at is not null;
    update sidecar_internal.watches x set source = present.source, target = present.target
        where x.id = w.id and (x.source, x.target) = (w.source, w.target);
    return found;
exception when lock_not_available or deadlock_detected or unique_violation then
    return false;
end $$;

CREATE FUNCTION sidecar_internal.apply_settings(settings jsonb) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform set_config(s.key, s.value, true) from jsonb_each_text(settings) s;
end $$;

CREATE FUNCTION sidecar_internal.backlog_of(w sidecar_internal.watches) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    queue constant text := format('sidecar_internal.events_%s', w.id);
    queue_bytes constant bigint := pg_relation_size(to_regclass(queue));
    passes constant text[] := array(select s.purpose from sidecar_internal.scans s
                                    where s.watch_id = w.id and s.finished_at is null and s.purpose <> 'sweep');
    events bigint := 0;
    due bigint := 0;
    ledger record;
begin
    if queue_bytes > 16 * 1024 * 1024 then
        events := greatest(1, (sidecar_internal.count_rows(queue::regclass, false)).n);
    elsif queue_bytes > 0 then
        execute format('select count(*) from %s', queue) into events;
    end if;
    if pg_relation_size(to_regclass(format('sidecar_internal.delayed_%s', w.id))) > 0 then
        execute format('select count(*) from (select from sidecar_internal.delayed_%s d where d.run_at <= now() limit 100000) x', w.id) into due;
    end if;
    if 'backfill' = any (passes) then
        ledger := sidecar_internal.count_ledger(w, false, (
            select s.start_gen from sidecar_internal.scans s where s.watch_id = w.id and s.purpose = 'backfill' and s.force));
        events := greatest(events, (sidecar_internal.count_rows(w.relation, false)).n - ledger.entries + ledger.updates);
    end if;
    if events + due = 0 and (cardinality(passes) > 0 or sidecar_internal.holds_build_lock(w.id)) then
        return 1;
    end if;
    return events + due;
end $$;

CREATE FUNCTION sidecar_internal.base_type(INOUT type oid, INOUT modifier integer, OUT printed text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    domain record;
begin
    loop
        select t.typbasetype, t.typtypmod into domain from pg_type t where t.oid = type and t.typtype = 'd';
        exit when not found;
        type := domain.typbasetype;
        modifier := domain.typtypmod;
    end loop;
    printed := format_type(type, modifier);
end $$;

CREATE TABLE sidecar_internal.sidecars (
    id uuid NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    model text NOT NULL,
    fingerprint text NOT NULL,
    dimensions integer NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    role name DEFAULT CURRENT_USER NOT NULL,
    clock_skew_s double precision,
    texts_per_s double precision,
    picture_views_per_s double precision
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='50', autovacuum_vacuum_scale_factor='0');

CREATE FUNCTION sidecar_internal.can_serve(w sidecar_internal.watches, s sidecar_internal.sidecars) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select s.dimensions = w.dimensions
        and case when w.fingerprint is not null then s.fingerprint = w.fingerprint else w.model is null or w.model in (s.model, s.fingerprint) end;
$$;

CREATE FUNCTION sidecar_internal.canonical_index(index text, target text, dimensions integer, storage text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select sidecar_internal.index_argument(sidecar_internal.with_index(jsonb_populate_record(null::sidecar_internal.watches,
        jsonb_build_object('index_kind', index, 'target', target, 'dimensions', dimensions, 'storage', storage))));
$$;

CREATE FUNCTION sidecar_internal.canonical_key(w sidecar_internal.watches, key jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "IntervalStyle" TO 'postgres'
    SET "TimeZone" TO 'UTC'
    SET bytea_output TO 'hex'
    SET extra_float_digits TO '1'
    SET lc_monetary TO 'C'
    SET quote_all_identifiers TO 'off'
    AS $_$
declare
    canonical jsonb;
begin
    if jsonb_typeof(key) is distinct from 'object' or (select array_agg(k order by k) from jsonb_object_keys(key) k)
            is distinct from (select array_agg(c order by c) from unnest(w.key_columns) c) then
        raise exception 'key % does not name the key columns of %', coalesce(key::text, 'NULL'), w.relation
            using errcode = 'invalid_parameter_value',
                  hint = format('Say: key => ''{%s}''', (select string_agg(to_json(c) || ': ...', ', ') from unnest(w.key_columns) c));
    end if;
    execute format('select jsonb_build_object(%s) from %s', sidecar_internal.key_fields(w, 'r'), sidecar_internal.typed_key(w, '$1')) into canonical using sidecar_internal.numbered_key(w, key);
    return canonical;
end $_$;

CREATE FUNCTION sidecar_internal.change_exposure(w sidecar_internal.watches, wanted text[]) RETURNS sidecar_internal.watches
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if w.expose <> wanted then
        perform sidecar_internal.revoke_table(w);
        update sidecar_internal.watches x set expose = wanted where x.id = w.id returning * into w;
    end if;
    return w;
end $$;

CREATE FUNCTION sidecar_internal.changes_unnamed(w sidecar_internal.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from sidecar_internal.tree_of(w.relation) h
                   cross join lateral (select t.* from pg_trigger t where t.tgrelid = h.home offset 0) t  -- by index, each table
                   where not t.tgisinternal and t.tgtype & 1 = 1 and t.tgtype & 2 = 2 and t.tgtype & 16 = 16)
        or exists (select from pg_attribute a
                   where a.attrelid = w.relation and a.attname = any (w.source || w.key_columns) and a.attgenerated <> '');
$$;

CREATE FUNCTION sidecar_internal.check_companion(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    key record := sidecar_internal.primary_key_of(w.relation);
    made constant text := 'Name a table that does not exist: it is made.';
    other_column text;
begin
    perform sidecar_internal.check_relation(w.companion);
    perform sidecar_internal.check_owner(w.companion);
    if w.companion = w.relation then
        raise exception 'table % cannot be its own companion', w.relation using errcode = 'invalid_parameter_value', hint = made;
    elsif not exists (select from pg_constraint c where c.conrelid = w.companion and c.contype = 'p')
          or (select (p.columns, p.types) <> (key.columns, key.types) from sidecar_internal.primary_key_of(w.companion) p) then
        raise exception 'companion table % has another primary key than %', w.companion, w.relation
            using errcode = 'invalid_table_definition',
                  hint = format('It needs primary key (%s) with the same types. ', array_to_string(key.columns, ', ')) || made;
    end if;
    perform from pg_attribute a
        where a.attrelid = w.companion and a.attname = w.target and not a.attisdropped and a.attgenerated = ''
          and sidecar_internal.storage_of(w.companion, w.target) = w.storage and a.atttypmod = w.dimensions;
    if not found then
        raise exception 'companion table % has no column % of type %(%)', w.companion, quote_literal(w.target), w.storage, w.dimensions
            using errcode = 'datatype_mismatch',
                  hint = case when sidecar_internal.storage_of(w.companion, w.target) <> w.storage
                              then sidecar_internal.advise_on_storage(w, sidecar_internal.storage_of(w.companion, w.target)) else made end;
    end if;
    select a.attname into other_column from pg_attribute a
        where a.attrelid = w.companion and a.attnum > 0 and not a.attisdropped
          and a.attnotnull and not a.atthasdef and a.attidentity = ''
          and a.attname <> all (w.key_columns || w.target) limit 1;
    if found then
        raise exception 'companion table % has column %, which is NOT NULL and has no default', w.companion, quote_literal(other_column)
            using errcode = 'invalid_table_definition', hint = 'A companion holds the key and the vector. ' || made;
    end if;
end $$;

CREATE FUNCTION sidecar_internal.check_exposed(relation regclass, expose text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    column_name text;
    type record;
begin
    foreach column_name in array expose loop
        select b.type as base, e.typname, format_type(a.atttypid, a.atttypmod) as printed into type
            from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b join pg_type t on t.oid = b.type
            join pg_type e on e.oid = case when t.typcategory = 'A' then t.typelem else t.oid end
            where a.attrelid = check_exposed.relation and a.attname = column_name and a.attnum > 0 and not a.attisdropped;
        if not found then
            raise exception 'table % has no column %', relation, coalesce(quote_literal(column_name), 'NULL')
                using errcode = 'undefined_column', hint = sidecar_internal.did_you_mean_column(column_name, relation)
                                                      || 'Expose columns of the watched table: expose => array[''title''].';
        elsif type.typname in ('vector', 'halfvec', 'sparsevec', 'bytea') then
            raise exception 'column % of % has type %, which a search does not show', quote_literal(column_name), relation, type.printed
                using errcode = 'datatype_mismatch', hint = 'Expose what names the content, such as a path; vectors are in the table. Of pictures only the one that the watch embeds.';
        elsif (select count(*) from unnest(expose) e(name) where e.name = column_name) > 1 then
            raise exception 'column % is exposed twice', quote_literal(column_name) using errcode = 'duplicate_column',
                hint = 'Name it once.';
        end if;
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.check_filter_values(type text, wanted text[], paths text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    fault record;
begin
    if (sidecar_internal.input_error(wanted::text, type || '[]')).message is null then
        return;
    end if;
    select v.n, e.message, e.sql_error_code into fault from unnest(wanted) with ordinality v(value, n)
        cross join lateral sidecar_internal.input_error(v.value, type) e where v.value is not null and e.message is not null order by v.n limit 1;
    perform sidecar_internal.raise_filter_fault(paths[fault.n], fault.message, fault.sql_error_code);
end $$;

CREATE FUNCTION sidecar_internal.check_index_method(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    product constant text := case w.index_method when 'vchordrq' then 'VectorChord' when 'diskann' then 'pgvectorscale' end;
    extension constant text := case w.index_method when 'vchordrq' then 'vchord' when 'diskann' then 'vectorscale' end;
begin
    if w.index_kind = 'none' or sidecar_internal.cosine_class(w.index_method, w.index_kind) is not null then
        return;
    elsif exists (select from pg_am a where a.amname = w.index_method and a.amtype = 'i') then
        raise exception 'index method % cannot compare % by cosine: it has no operator class %_cosine_ops', w.index_method, w.index_kind, w.index_kind
            using errcode = 'undefined_object', hint = case when w.index_kind = 'halfvec' and sidecar_internal.cosine_class(w.index_method, 'vector') is not null
                then format('Say index => ''using %s (%I%s)''.', w.index_method, w.target, case when w.storage <> 'vector' then '::vector' else '' end)
                else 'Say index => ''hnsw''; with index => ''none'' any index is yours to build.' end;
    end if;
    raise exception 'there is no index method % in database "%"%', quote_literal(w.index_method), current_database(),
            coalesce(format(': %s is not installed', product), '')
        using errcode = 'undefined_object', hint = case
            when extension is null then 'Install the extension that has it, or say index => ''hnsw''.'
            when exists (select from pg_available_extensions a where a.name = extension) then format('Run: create extension %s cascade;', extension)
            else format('Install %s on the server as its documentation says%s, then run: create extension %s cascade; or say index => ''hnsw''.',
                        product, case extension when 'vchord' then ', which includes shared_preload_libraries' else '' end, extension) end;
end $$;

CREATE FUNCTION sidecar_internal.check_key_types(relation regclass) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    key record;
begin
    select a.attname, format_type(a.atttypid, a.atttypmod) as type,
           coalesce(sidecar_internal.key_type_fault(t.oid), case when t.typtype = 'e' then 'a domain over an enum has no operators' end) as fault into key
        from pg_index i
        cross join generate_series(0, i.indnkeyatts - 1) as position
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[position]
        cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        join pg_type t on t.oid = b.type
        join pg_opclass oc on oc.oid = i.indclass[position]
        left join pg_amop o on o.amopfamily = oc.opcfamily and o.amopstrategy = 3
                               and o.amoplefttype = oc.opcintype and o.amoprighttype = oc.opcintype
        left join pg_operator op on op.oid = o.amopopr
        where i.indrelid = relation and i.indisprimary
          and (sidecar_internal.key_type_fault(t.oid) is not null or (t.typtype = 'e' and a.atttypid <> t.oid) or op.oprnamespace <> 'pg_catalog'::regnamespace) limit 1;
    if found then
        raise exception 'key column %.% has type %, which cannot be a key here%', relation, quote_ident(key.attname), key.type,
                coalesce(': ' || key.fault, '')
            using errcode = 'feature_not_supported',
                  hint = 'Use a key of a simple type of Postgres''s own, such as bigint, uuid or text; or of several such columns.';
    end if;
end $$;

CREATE FUNCTION sidecar_internal.check_labels(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    waiting record;
begin
    if not exists (select from sidecar_internal.labels x where x.watch_id = w.id) then
        raise exception '%.% has no labels', w.relation, quote_ident(w.target) using errcode = 'object_not_in_prerequisite_state',
            hint = format('select sidecar.set_labels(%L, array[''mug'', ''chair''], target => %L);', w.relation, w.target);
    end if;
    select x.label, x.error into waiting from sidecar_internal.labels x
        where x.watch_id = w.id and (w.fingerprint is null or x.fingerprint is distinct from w.fingerprint or x.vector is null)
        order by x.error is null, x.position limit 1;
    if found then
        raise exception 'label % of %.% %', quote_literal(waiting.label), w.relation, quote_ident(w.target),
                coalesce('cannot be embedded: ' || waiting.error, 'has no vector yet')
            using errcode = 'object_not_in_prerequisite_state',
                  hint = case when waiting.error is not null then 'Set other labels with sidecar.set_labels.'
                              when w.fingerprint is null then 'The first vectors of the watch have to be there, and a sidecar with their model.'
                              else 'A sidecar with the model of the watch embeds it within seconds: is one running?' end;
    end if;
end $$;

CREATE FUNCTION sidecar_internal.check_move_to(w sidecar_internal.watches, model text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    named_dimensions integer;
    running text;
begin
    select min(s.dimensions) into named_dimensions from sidecar_internal.sidecars s
        where s.seen_at > clock_timestamp() - interval '30 s' and check_move_to.model in (s.model, s.fingerprint)
        having bool_and(s.dimensions <> w.dimensions);
    if named_dimensions is not null then
        raise exception '% makes vectors of % dimensions, which %.% cannot hold: they have %',
                        check_move_to.model, named_dimensions, w.relation, quote_ident(w.target), w.dimensions
            using errcode = 'invalid_parameter_value',
                  hint = format('Nothing was changed. Watch another target, with dimensions => %s.', named_dimensions);
    end if;
    running := (select string_agg(distinct format('%s (%s, %s dimensions)', s.model, s.fingerprint, s.dimensions), ', ') from sidecar_internal.sidecars s
                where s.seen_at > clock_timestamp() - interval '30 s'
                having not bool_or(s.dimensions = w.dimensions and check_move_to.model in ('any', s.model, s.fingerprint)));
    if running is not null then
        raise warning 'no running sidecar has % and % dimensions (running: %): nothing is embedded until one has',
                      case check_move_to.model when 'any' then 'any model' else 'the model ' || check_move_to.model end, w.dimensions, running;
    end if;
end $$;

CREATE FUNCTION sidecar_internal.check_options(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    most integer := case when w.index_method in ('hnsw', 'ivfflat') then case w.index_kind when 'halfvec' then 4000 when 'vector' then 2000 end end;
begin
    if w.dimensions is null or w.dimensions not between 1 and 16000 then
        raise exception 'dimensions is %', coalesce(w.dimensions::text, 'NULL') using errcode = 'invalid_parameter_value',
            hint = 'Give the length of the model''s vectors: 1152 for the default model.';
    elsif coalesce(w.storage, 'vector') not in ('vector', 'halfvec') then
        raise exception 'storage is %', quote_literal(w.storage) using errcode = 'invalid_parameter_value',
            hint = 'storage is ''vector'' (default: 4 bytes a number) or ''halfvec'' (2 bytes).';
    elsif w.storage = 'halfvec' and w.index_kind = 'vector' then
        raise exception 'storage is ''halfvec'', but index is %', quote_literal(sidecar_internal.index_argument(w)) using errcode = 'invalid_parameter_value',
            hint = case w.index_method when 'diskann' then 'diskann takes vectors of type vector only: say storage => ''vector'', or another index.'
                   else 'Say index => ''halfvec'', which indexes the stored vectors as they are, or ''none''.' end;
    elsif w.dimensions > most then
        raise exception 'an % index on % takes at most % dimensions, not %', case w.index_method when 'hnsw' then 'HNSW' else 'IVFFlat' end,
                w.index_kind, most, w.dimensions
            using errcode = 'invalid_parameter_value', hint = 'Say index => ''none'', or ''halfvec'' for up to 4000.';
    elsif w.target = any (w.source) then
        raise exception 'target and source are both %', quote_literal(w.target) using errcode = 'invalid_parameter_value',
            hint = 'Name a column of its own for the vector.';
    elsif w.target = '' or octet_length(w.target) > 63 then
        raise exception 'target % is not a name of 1 to 63 bytes', quote_literal(w.target) using errcode = 'invalid_name',
            hint = 'Say target => ... with another one.';
    end if;
end $$;

CREATE FUNCTION sidecar_internal.check_owner(relation regclass) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    owner constant oid := (select c.relowner from pg_class c where c.oid = relation);
begin
    if not pg_has_role(owner, 'usage') then
        raise exception 'only the owner of % can watch it, and role "%" is not its owner', relation, current_user
            using errcode = 'insufficient_privilege', hint = format('Let %I call this: set role %1$I;', pg_get_userbyid(owner));
    end if;
end $_$;

CREATE FUNCTION sidecar_internal.check_query_server(fingerprint text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    others text;
begin
    if not exists (select from sidecar_internal.query_servers s
                   where s.fingerprint = check_query_server.fingerprint
                     and (s.seen_at > clock_timestamp() - interval '6 s' or sidecar_internal.is_answering(s.id))) then
        others := (select string_agg(distinct s.fingerprint, ', ') from sidecar_internal.query_servers s
                   where s.fingerprint <> check_query_server.fingerprint and s.seen_at > clock_timestamp() - interval '15 s');
        raise exception 'no sidecar that embeds queries with % is connected to this database', fingerprint using errcode = 'SC003',
            hint = concat('Start `sidecar serve` with that model', ' (those connected run ' || others || ')', '; it needs a direct connection and SQL_QUERIES=1.');
    end if;
end $$;

CREATE FUNCTION sidecar_internal.check_relation(relation regclass) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    class record;
begin
    select c.relkind, c.relpersistence, n.nspname into class
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation;
    if not found then
        raise exception 'there is no table %', coalesce(relation::text, 'NULL')
            using errcode = 'undefined_table', hint = 'Name an existing table, for example ''public.products''.';
    elsif class.relkind not in ('r', 'p') then
        raise exception '% is a %, not a table', relation, case class.relkind when 'v' then 'view' when 'm' then 'materialized view'
                when 'f' then 'foreign table' when 'S' then 'sequence' else 'relation of another kind' end
            using errcode = 'wrong_object_type', hint = case when class.relkind = 'f' then 'Watch it in the database it lives in.'
                else 'Only tables can be watched: watch the table behind it.' end;
    elsif class.relpersistence = 't' then
        raise exception '% is a temporary table, which no other session can read', relation
            using errcode = 'wrong_object_type', hint = 'Use a permanent table.';
    elsif class.nspname in ('sidecar', 'sidecar_internal', 'pg_catalog', 'information_schema') then
        raise exception '% belongs to schema "%"', relation, class.nspname
            using errcode = 'wrong_object_type', hint = 'Use a table of your own.';
    elsif sidecar_internal.inherits(relation) then
        raise exception '% takes part in table inheritance, where a primary key does not cover the children', relation
            using errcode = 'wrong_object_type', hint = 'Use declarative partitioning, or a table of its own.';
    end if;
end $$;

CREATE FUNCTION sidecar_internal.check_role(role regrole) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if not exists (select from pg_roles r where r.oid = role) then
        raise exception 'there is no role %', coalesce(role::text, 'NULL') using errcode = 'undefined_object',
            hint = 'Create it first: create role sidecar_worker login;';
    end if;
end $$;

CREATE FUNCTION sidecar_internal.check_row_exists(w sidecar_internal.watches, key jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    is_there boolean;
begin
    execute format('select exists (select from %s join %s t on %s)', sidecar_internal.typed_key(w, '$1'), w.relation,
                   sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = r.k%1$s', ' and '))
        into is_there using sidecar_internal.numbered_key(w, key);
    if not is_there then
        raise exception 'table % has no row %', w.relation, key using errcode = '02000',
            hint = 'It may have been deleted, or inserted by a transaction that is still open.';
    end if;
end $_$;

CREATE FUNCTION sidecar_internal.check_row_security(relation regclass) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    role name;
begin
    for role in select pg_get_userbyid(r.role) from sidecar_internal.roles() r where r.kind = 'worker'
                union select s.role from sidecar_internal.sidecars s where s.seen_at > clock_timestamp() - interval '30 s' loop
        if sidecar_internal.rls_hides(relation, role) then
            raise exception 'row-level security of % hides rows from role %, which the sidecar runs as', relation, quote_ident(role)
                using errcode = 'insufficient_privilege',
                      hint = format('Run: alter role %I bypassrls; or let the sidecar run as the owner of the table, without '
                                    'FORCE ROW LEVEL SECURITY.', role);
        end if;
    end loop;
    if role is null and (select c.relrowsecurity from pg_class c where c.oid = relation) then
        raise warning 'table % has row-level security', relation
            using hint = 'The sidecar has to run as a role with BYPASSRLS, or as the owner without FORCE ROW LEVEL SECURITY.';
    end if;
end $$;

CREATE FUNCTION sidecar_internal.check_shown(watches sidecar_internal.watches[], shown text[], document text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    allowed constant text[] := watches[1].key_columns || sidecar_internal.exposed_by_all(watches);
    sources constant text[] := array(select unnest(w.source) from unnest(watches) w where w.kind = 'text');
    fault text;
    faulty text;
begin
    select format('column %L is not exposed by %s', a.name, case cardinality(watches) when 1 then 'the watch' else 'all of these targets' end), a.name into fault, faulty
        from (select unnest(shown) as name, allowed union all select unnest(document), allowed || sources) a
        where a.name is null or a.name <> all (a.allowed)
    union all
    select format('column %L is asked for twice', c.name), null from unnest(shown) c(name) group by c.name having count(*) > 1
    limit 1;
    if fault is not null then
        raise exception '%', fault using errcode = 'undefined_column',
            hint = format('%sIts columns: %s. To add one: sidecar.watch(..., expose => array[...], replace => true).',
                          sidecar_internal.did_you_mean(faulty, allowed), array_to_string(allowed, ', '));
    end if;
end $$;

CREATE FUNCTION sidecar_internal.check_target_row(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    class record;
    rule name := (select r.rulename from pg_rewrite r where r.ev_class = w.relation and r.ev_type = '2' limit 1);
    other sidecar_internal.watches;
    companion constant text := 'keep the vectors in a table of their own: companion => ''some_table''.';
begin
    select c.relispartition, c.reloftype <> 0 as is_typed into class from pg_class c where c.oid = w.relation;
    if rule is not null then
        raise exception 'rule % rewrites updates of %, so no vector can be written', quote_ident(rule), w.relation
            using errcode = 'feature_not_supported', hint = 'Use a trigger in place of the rule, or ' || companion;
    elsif (class.relispartition or class.is_typed) and sidecar_internal.target_is_missing(w) then
        raise exception '% cannot get a column % of its own: it is %', w.relation, quote_literal(w.target),
            case when class.is_typed then 'a typed table' else 'a partition' end
            using errcode = 'wrong_object_type', hint = case when class.is_typed then 'Alter its type first, or '
                else format('Watch %s, or ', pg_partition_root(w.relation)) end || companion;
    end if;
    select x.* into other from sidecar_internal.watches x
        where x.unwatched_at is null and x.companion is null and x.target = w.target and x.relation <> w.relation
          and x.relation in (select a.relid from pg_partition_ancestors(w.relation) a
                             union all select t.home from sidecar_internal.tree_of(w.relation) t) limit 1;
    if found then
        raise exception 'column % of % holds the vectors of the watch on %', quote_literal(w.target), w.relation, other.relation
            using errcode = 'duplicate_object',
                  hint = format('End that one first: select sidecar.unwatch(%L, %L); or %s', other.relation, w.target, companion);
    end if;
end $$;

CREATE FUNCTION sidecar_internal.checked_watch(wanted sidecar_internal.watches, companion_name text) RETURNS sidecar_internal.watches
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform sidecar_internal.vector_schema();
    perform sidecar_internal.check_relation(wanted.relation);
    select p.columns, p.types into wanted.key_columns, wanted.key_types from sidecar_internal.primary_key_of(wanted.relation) p;
    perform sidecar_internal.check_key_types(wanted.relation);
    wanted.kind := sidecar_internal.kind_of_source(wanted.relation, wanted.source, wanted.kind);
    wanted.target := coalesce(wanted.target, wanted.source[1] || '_embedding');
    wanted.companion := to_regclass(companion_name);
    wanted.storage := coalesce(wanted.storage, sidecar_internal.default_storage(wanted, companion_name));
    wanted := sidecar_internal.with_index(wanted);
    perform sidecar_internal.check_options(wanted);
    perform sidecar_internal.check_index_method(wanted);
    wanted.expose := coalesce(wanted.expose, '{}');
    perform sidecar_internal.check_exposed(wanted.relation, sidecar_internal.without_picture(wanted));
    if wanted.companion is not null then
        perform sidecar_internal.check_companion(wanted);
    elsif companion_name is null then
        perform sidecar_internal.check_target_row(wanted);
        perform sidecar_internal.target_is_missing(wanted) where sidecar_internal.storage_of(wanted.relation, wanted.target) <> wanted.storage;
    elsif wanted.target = any (wanted.key_columns) then
        raise exception 'target % is a key column, which the companion has too', quote_literal(wanted.target)
            using errcode = 'invalid_parameter_value', hint = 'Name a column of its own for the vector.';
    end if;
    return wanted;
end $$;

CREATE FUNCTION sidecar_internal.collation_over_domain(a pg_attribute) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce((select format(' collate %I.%I', c.collnamespace::regnamespace, c.collname)
                     from pg_type t join pg_collation c on c.oid = a.attcollation
                     where t.oid = a.atttypid and t.typtype = 'd' and t.typcollation <> a.attcollation), '');
$$;

CREATE FUNCTION sidecar_internal.columns_of(w sidecar_internal.watches, OUT readable text, OUT written text, OUT keys text) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attname <> w.target or w.companion is null or a.attname = any (w.expose)),
           string_agg(quote_ident(a.attname), ', ') filter (where a.attname = w.target),
           string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attname = any (w.key_columns))
        from pg_attribute a
        where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
          and a.attname = any (w.key_columns || w.source || w.target || w.expose);
$$;

CREATE FUNCTION sidecar_internal.columns_of_trigger(w sidecar_internal.watches, relation regclass, suffix text) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array_agg(distinct a.attname::text)
        from pg_trigger t
        join pg_depend d on d.classid = 'pg_trigger'::regclass and d.objid = t.oid
                        and d.refclassid = 'pg_class'::regclass and d.refobjid = t.tgrelid and d.refobjsubid > 0
        join pg_attribute a on a.attrelid = t.tgrelid and a.attnum = d.refobjsubid
        where t.tgrelid = columns_of_trigger.relation and t.tgname = format('sidecar_%s_%s', w.id, suffix);
$$;

CREATE FUNCTION sidecar_internal.companion_is_gone(w sidecar_internal.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select w.companion is not null and not exists (select from pg_class c where c.oid = w.companion);
$$;

CREATE FUNCTION sidecar_internal.companion_name(relation regclass, companion text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    parts text[];
begin
    begin
        parts := parse_ident(companion);
    exception when invalid_parameter_value then
        raise exception 'companion % is not the name of a table', quote_literal(companion) using errcode = 'invalid_parameter_value',
            hint = format('Put a name with other characters than letters, digits and _ into double quotes: %L', quote_ident(companion));
    end;
    if cardinality(parts) = 2 and parts[1] <> 'pg_temp' and to_regnamespace(quote_ident(parts[1])) is null then
        raise exception 'schema "%" does not exist', parts[1] using errcode = 'invalid_schema_name',
            hint = 'Create the schema, or name a table in another one.';
    elsif cardinality(parts) > 2 then
        raise exception 'companion % has too many dots', quote_literal(companion) using errcode = 'invalid_name',
            hint = 'Name a table, or schema.table.';
    elsif cardinality(parts) = 1 then
        return (select format('%I.%I', n.nspname, parts[1]) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where c.oid = relation);
    end if;
    return case when companion is not null then format('%I.%I', parts[1], parts[2]) end;
end $$;

CREATE FUNCTION sidecar_internal.companion_values(w sidecar_internal.watches, row_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select string_agg(format(case when t.typtype = 'd' then '%1$s.k%2$s' else 'sidecar_internal.exactly((null::%3$s).%4$I, %1$s.k%2$s)' end,
                             row_name, u.i, w.companion, u.c), ', ' order by u.i)
        from unnest(w.key_columns) with ordinality u(c, i)
        left join pg_attribute a on a.attrelid = w.companion and a.attname = u.c
        left join pg_type t on t.oid = a.atttypid;
$_$;

CREATE FUNCTION sidecar_internal.compared_type(w sidecar_internal.watches, OUT name text, OUT is_cast boolean) RETURNS record
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case w.index_kind when 'none' then w.storage else w.index_kind end, w.index_kind not in ('none', w.storage);
$$;

CREATE FUNCTION sidecar_internal.cosine_class(method text, kind text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('%I.%I', n.nspname, o.opcname)
        from pg_am a
        join pg_opclass o on o.opcmethod = a.oid and o.opcname = kind || '_cosine_ops'
        join pg_namespace n on n.oid = o.opcnamespace
        join pg_type t on t.oid = o.opcintype and t.typname = kind
        join pg_extension e on e.extname = 'vector' and e.extnamespace = t.typnamespace
        where a.amname = method limit 1;
$$;

CREATE FUNCTION sidecar_internal.count_foreign_vectors(w sidecar_internal.watches, at_most integer, OUT looked bigint, OUT foreign_vectors bigint) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    vector_table regclass := coalesce(w.companion, w.relation);
    vector_key constant text[] := sidecar_internal.exact_keys(w, vector_table, 'h');
    rows bigint := greatest((sidecar_internal.count_rows(vector_table, false)).n, 1);
    ext text := quote_ident(sidecar_internal.vector_schema());
begin
    execute format('select count(*), count(*) filter (where (%1$s.vector_dims(sidecar_internal.exactly(null::%9$s, h.%2$I)) <> $2
                               or sha256(%9$s_send(sidecar_internal.exactly(null::%9$s, h.%2$I))) is distinct from l.vector_digest)
                           and not exists (select from %8$s where %4$s))
                    from (select * from %5$s t tablesample system (%6$s) where t.%2$I is not null limit $1) h
                    left join sidecar_internal.ledger_%3$s l on %7$s',
        ext, w.target, w.id, sidecar_internal.for_each_key(w.key_columns, vector_key, 'e.k%1$s = %3$s', ' and '), vector_table,
        least(100, 200.0 * at_most / rows), sidecar_internal.for_each_key(w.key_columns, vector_key, 'l.k%1$s = %3$s', ' and '), sidecar_internal.pending_of(w),
        format('%s.%s', ext, w.storage)) into looked, foreign_vectors using at_most, w.dimensions;
end $_$;

CREATE FUNCTION sidecar_internal.count_leaf_indexes(w sidecar_internal.watches, OUT leaves bigint, OUT built bigint) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select nullif(count(*), 0), count(*) filter (where exists (select from sidecar_internal.usable_indexes(w, t.home) u where u.valid))
        from sidecar_internal.tree_of(coalesce(w.companion, w.relation)) t where t.is_leaf and t.parent is not null;
$$;

CREATE FUNCTION sidecar_internal.count_ledger(w sidecar_internal.watches, exact boolean, since_gen bigint DEFAULT NULL::bigint, OUT entries bigint, OUT empty bigint, OUT failed bigint, OUT truncated bigint, OUT unreadable bigint, OUT updates bigint, OUT outdated bigint, OUT retrying bigint, OUT estimated boolean) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
end $_$;

CREATE FUNCTION sidecar_internal.count_queue(w sidecar_internal.watches, since_gen bigint DEFAULT NULL::bigint, OUT keys bigint, OUT known bigint, OUT updates bigint, OUT outdated bigint, OUT retrying bigint, OUT oldest timestamp with time zone, OUT estimated boolean, OUT truncates bigint, OUT is_emptied boolean) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
end $_$;

CREATE FUNCTION sidecar_internal.count_rows(relation regclass, exact boolean, OUT n bigint, OUT estimated boolean) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    page_bytes constant double precision := current_setting('block_size')::integer;
    leaves oid[] := array[relation];
    leaf record;
    known_rows double precision := 0;
    known_pages double precision := 0;
    unknown_pages double precision := 0;
    largest_unknown regclass;
    most_pages double precision := 0;
    bytes double precision;
begin
    if (select c.relkind = 'p' from pg_class c where c.oid = count_rows.relation) then
        leaves := array(select t.home from sidecar_internal.tree_of(count_rows.relation) t where t.is_leaf);
    end if;
    -- One by one, with a cached plan: a join would read all of pg_class, and an aggregate be planned again for each watch.
    for leaf in select l.oid from unnest(leaves) l(oid) loop
        select c.oid, c.reltuples, c.relpages, pg_relation_size(c.oid) / page_bytes as pages into leaf
            from pg_class c where c.oid = leaf.oid and c.relkind = 'r';
        if leaf.reltuples >= 0 and leaf.relpages > 0 then
            known_rows := known_rows + leaf.reltuples * leaf.pages / leaf.relpages;
            known_pages := known_pages + leaf.pages;
        elsif leaf.pages > 0 then
            unknown_pages := unknown_pages + leaf.pages;
            if leaf.pages > most_pages then
                most_pages := leaf.pages;
                largest_unknown := leaf.oid;
            end if;
        end if;
    end loop;
    bytes := (known_pages + unknown_pages) * page_bytes;
    estimated := not sidecar_internal.may_count(relation)
        or (not exact and (bytes > case when known_pages > 0 then 16 else 256 end * 1024 * 1024 or cardinality(leaves) > 100));
    if not estimated then
        execute format('select count(*) from %s', relation) into n;
    else
        n := known_rows + case when unknown_pages = 0 then 0 when known_pages > 0 then unknown_pages * known_rows / known_pages
                               else unknown_pages * sidecar_internal.sample_rows_per_page(largest_unknown) end;
    end if;
end $$;

CREATE FUNCTION sidecar_internal.count_unknown(w sidecar_internal.watches) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
end $_$;

CREATE FUNCTION sidecar_internal.count_vectors_without_row(w sidecar_internal.watches, at_most integer) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    vector_key constant text[] := sidecar_internal.exact_keys(w, w.companion, 'h');
    pages constant double precision := greatest(1, pg_relation_size(w.companion) / current_setting('block_size')::integer);
    n bigint;
begin
    execute format('select count(*) from (select from %s h tablesample system (%s) where not exists (select from %s t where %s)
                                          and not exists (select from %s where %s) limit $1) o',
        w.companion, least(100, 100 * 512 / pages), w.relation, sidecar_internal.for_each_key(vector_key, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and '),
        sidecar_internal.pending_of(w), sidecar_internal.for_each_key(w.key_columns, vector_key, 'e.k%1$s = %3$s', ' and ')) into n using at_most;
    return n;
end $_$;

CREATE FUNCTION sidecar_internal.create_companion(w sidecar_internal.watches, name text) RETURNS regclass
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    key record := sidecar_internal.primary_key_of(w.relation);
begin
    execute format('create table %s (%s, %I %s(%s) not null, primary key (%s))', name,
        sidecar_internal.for_each_key(key.columns, key.definitions, '%2$I %3$s'), w.target, sidecar_internal.stored_type(w), w.dimensions,
        sidecar_internal.for_each_key(key.columns, null, '%2$I'));
    perform sidecar_internal.check_relation(to_regclass(name));  -- rejects a name in a temporary schema, or in ours
    perform sidecar_internal.grant_like(w.relation, to_regclass(name));
    return to_regclass(name);
end $_$;

CREATE FUNCTION sidecar_internal.create_companion_view(w sidecar_internal.watches) RETURNS regclass
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    class record;
    name text;
    columns text;
    description constant text := format('Rows of %s and their vectors. Kept by the sidecar.', w.relation);
begin
    select n.nspname, c.relname into class from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.companion;
    while octet_length(class.relname || '_view') > 63 loop
        class.relname := left(class.relname, -1);
    end loop;
    name := format('%I.%I', class.nspname, class.relname || '_view');
    w.companion_view := to_regclass(name);
    if obj_description(w.companion_view, 'pg_class') = description and sidecar_internal.has_view(w)
            and (select pg_has_role(c.relowner, 'usage') from pg_class c where c.oid = w.companion_view) then
        execute format('drop view %s', name); -- created for a watch whose row was not restored
    elsif w.companion_view is not null then
        raise warning 'the view of companion % was not created: the name % is taken', w.companion, name
            using hint = 'Nothing depends on it: join the two tables yourself, as the query in sidecar.status does.';
        return null;
    end if;
    select string_agg(format('t.%I', u.c), ', ' order by u.n) into columns
        from unnest(w.key_columns || w.source) with ordinality as u(c, n)
        where u.n <= cardinality(w.key_columns) or u.c <> all (w.key_columns);
    execute format('create view %s with (security_invoker = true) as select %s, e.%I from %s t join %s e on %s', name, columns, w.target,
                   w.relation, w.companion, sidecar_internal.for_each_key(w.key_columns, null, 't.%2$I = e.%2$I', ' and '));
    execute format('comment on view %s is %L', name, description);
    perform sidecar_internal.grant_like(w.relation, to_regclass(name));
    return to_regclass(name);
end $_$;

CREATE FUNCTION sidecar_internal.create_deletion_trigger(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    if not sidecar_internal.sees_truncate(w) then
        execute format('create trigger sidecar_%1$s_rows_emptied after truncate on %2$s for each statement '
                       'when (current_setting(''sidecar.writer'', true) is distinct from ''on'') '
                       'execute function sidecar_internal.enqueue_emptied_companion(%1$s)', w.id, w.companion);
    end if;
    if not exists (select from pg_trigger t where t.tgrelid = w.companion and t.tgname = format('sidecar_%s_row_deleted', w.id)
                   and t.tgtype & 1 = 1) then
        execute format('create or replace trigger sidecar_%1$s_row_deleted after delete on %2$s for each row '
                       'when (current_setting(''sidecar.writer'', true) is distinct from ''on'') '
                       'execute function sidecar_internal.enqueue_%1$s_row()', w.id, w.companion);
    end if;
end $_$;

CREATE FUNCTION sidecar_internal.create_ledger(watch_id integer, key_definitions text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    keys text := sidecar_internal.for_each_key(key_definitions, key_definitions, 'k%1$s %3$s');
    key_names text := sidecar_internal.for_each_key(key_definitions, null, 'k%1$s');
begin
    execute format($sql$
        create table sidecar_internal.ledger_%1$s (
            %2$s,
            gen bigint not null,
            content_hash bytea check (octet_length(content_hash) = 32 or content_hash in ('empty', 'failed')),
            vector_digest bytea check (octet_length(vector_digest) = 32),
            truncated boolean not null default false,
            unreadable boolean not null default false,
            embedded_at timestamptz not null default clock_timestamp(),
            version bigint not null default (floor(random() * 9007199254740992))::bigint,
            primary key (%3$s),
            check ((vector_digest is null) = (content_hash is null or octet_length(content_hash) < 32))
        ) with (fillfactor = 80);
        create index ledger_%1$s_tombstones on sidecar_internal.ledger_%1$s (gen) where content_hash is null;
        create index ledger_%1$s_exceptions on sidecar_internal.ledger_%1$s (gen) where octet_length(content_hash) < 32;
    $sql$, watch_id, keys, key_names);
end $_$;

CREATE FUNCTION sidecar_internal.create_queue(watch_id integer, key_definitions text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    keys text := sidecar_internal.for_each_key(key_definitions, key_definitions, 'k%1$s %3$s');
begin
    -- An event means "bring this key up to date". Append-only, duplicates are harmless; a NULL key is a TRUNCATE. There is no
    -- CHECK, which would cost each row of a user's INSERT 1.5 us. The small fillfactor keeps leases HOT. The partial index holds
    -- the few outstanding events of the backfill, which are then found without reading a large live backlog.
    execute format($sql$
        create table sidecar_internal.events_%1$s (
            gen bigint primary key default nextval('sidecar_internal.generation'),
            %2$s,
            enqueued_at timestamptz not null default clock_timestamp(),
            backfill boolean not null default false,
            force boolean not null default false,
            lease_until timestamptz,
            lease_token uuid,
            attempts smallint not null default 0
        ) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
                autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
                autovacuum_vacuum_cost_delay = 0);
        create index events_%1$s_backfill on sidecar_internal.events_%1$s (gen) where backfill;
        create table sidecar_internal.delayed_%1$s (
            gen bigint primary key,
            %2$s,
            enqueued_at timestamptz not null,
            backfill boolean not null,
            force boolean not null,
            attempts smallint not null,
            run_at timestamptz not null
        );
        create index delayed_%1$s_run_at on sidecar_internal.delayed_%1$s (run_at);
    $sql$, watch_id, keys);
    perform sidecar_internal.create_register(watch_id);
end $_$;

CREATE FUNCTION sidecar_internal.create_register(watch_id integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    execute format('create sequence sidecar_internal.asleep_%1$s minvalue 0 owned by sidecar_internal.events_%1$s.gen', watch_id);
    perform setval(format('sidecar_internal.asleep_%s', watch_id), 1);
end $_$;

CREATE FUNCTION sidecar_internal.create_trigger(w sidecar_internal.watches, suffix text, event text, relation regclass, manner text, call text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    execute format('create or replace trigger sidecar_%1$s_%2$s after %3$s on %4$s %5$s execute function sidecar_internal.enqueue_%1$s_%6$s',
                   w.id, suffix, event, relation, manner, call);
    if sidecar_internal.is_subscribed(relation) then
        execute format('alter table %3$s enable always trigger sidecar_%1$s_%2$s', w.id, suffix, relation);
    end if;
end $_$;

CREATE FUNCTION sidecar_internal.create_trigger_functions(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    k text := sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s');           -- k1, k2
    new_key text := sidecar_internal.for_each_key(w.key_columns, null, 'new.%2$I');  -- new.id, new.region
    old_key text := sidecar_internal.for_each_key(w.key_columns, null, 'old.%2$I');
    sleeper text := format($code$
            if asleep_until_ms > 1 and to_timestamp(asleep_until_ms / 1000.0::float8) > clock_timestamp() then
                perform sidecar_internal.notify_sleepers();
            end if;$code$);
begin
    execute format('create or replace function sidecar_internal.enqueue_%s_row() returns trigger '
                   'language plpgsql security definer set search_path = pg_catalog, pg_temp as %L', w.id, format($body$
        declare
            asleep_until_ms bigint;
            generation bigint;
        begin
            begin
                asleep_until_ms := pg_sequence_last_value('sidecar_internal.asleep_%1$s'::regclass);
                if asleep_until_ms is null and not sidecar_internal.activate_queue(%1$s) then
                    return null;
                elsif not (case when tg_op = 'DELETE' then %6$s else %5$s end) then
                    raise datatype_mismatch using message = 'the type of a key column has changed';
                elsif not has_table_privilege('sidecar_internal.events_%1$s', 'insert') then
                    raise insufficient_privilege using message = 'the queue of the watch cannot be written';
                end if;
                generation := nextval('sidecar_internal.generation'::regclass);
            exception when others then
                perform sidecar_internal.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op <> 'DELETE' then
                loop
                    insert into sidecar_internal.events_%1$s (gen, %2$s, force) values (generation, %3$s, tg_nargs > 0)
                        on conflict do nothing;
                    exit when found;
                    generation := sidecar_internal.free_generation(%1$s);
                end loop;
            end if;
            if tg_op <> 'INSERT' then -- An INSERT computes none of this.
                if tg_op = 'DELETE' or record_image_ne(row(%3$s), row(%4$s)) then
                    if tg_op = 'UPDATE' then
                        generation := nextval('sidecar_internal.generation'::regclass);
                    end if;
                    loop
                        insert into sidecar_internal.events_%1$s (gen, %2$s) values (generation, %4$s) on conflict do nothing;
                        exit when found;
                        generation := sidecar_internal.free_generation(%1$s);
                    end loop;
                end if;
            end if;
            %7$s
            return null;
        end
    $body$, w.id, k, new_key, old_key, sidecar_internal.keys_fit(w, 'new'), sidecar_internal.keys_fit(w, 'old'), sleeper));

    -- For TRUNCATE; and for INSERT and DELETE of triggers of 0016 that could not be replaced yet.
    execute format('create or replace function sidecar_internal.enqueue_%s_statement() returns trigger '
                   'language plpgsql security definer set search_path = pg_catalog, pg_temp as %L', w.id, format($body$
        declare
            asleep_until_ms bigint;
            generation bigint;
        begin
            begin
                asleep_until_ms := pg_sequence_last_value('sidecar_internal.asleep_%1$s'::regclass);
                if asleep_until_ms is null and not sidecar_internal.activate_queue(%1$s) then
                    return null;
                elsif not has_table_privilege('sidecar_internal.events_%1$s', 'insert') then
                    raise insufficient_privilege using message = 'the queue of the watch cannot be written';
                elsif tg_op <> 'TRUNCATE' then
                    insert into sidecar_internal.events_%1$s (%2$s) select %3$s from changed_rows r where %4$s limit 0;
                end if;
                generation := nextval('sidecar_internal.generation'::regclass);
            exception when others then
                perform sidecar_internal.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op = 'TRUNCATE' then
                loop
                    insert into sidecar_internal.events_%1$s (gen) values (generation) on conflict do nothing;
                    exit when found;
                    generation := sidecar_internal.free_generation(%1$s);
                end loop;
            else
                insert into sidecar_internal.events_%1$s (%2$s) select %3$s from changed_rows r where %4$s;
                if not found then
                    if exists (select from changed_rows) then
                        perform sidecar_internal.report_breakage(%1$s, '42804', 'the type of a key column has changed');
                    end if;
                    return null;
                end if;
            end if;
            %5$s
            return null;
        end
    $body$, w.id, k, sidecar_internal.for_each_key(w.key_columns, null, 'r.%2$I'), sidecar_internal.keys_fit(w, 'r'), sleeper));

    execute format('revoke all on function sidecar_internal.enqueue_%1$s_statement(), sidecar_internal.enqueue_%1$s_row() from public', w.id);
end $_$;

CREATE FUNCTION sidecar_internal.create_triggers(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    unnamed boolean := sidecar_internal.changes_unnamed(w);
    of_columns text := (select string_agg(quote_ident(u.c), ', ') from (select distinct unnest(w.source || w.key_columns)) as u(c));
begin
    perform sidecar_internal.create_trigger(w, 'insert', 'insert', w.relation, 'for each row', 'row()');
    perform sidecar_internal.create_trigger(w, 'delete', 'delete', w.relation, 'for each row', 'row()');
    perform sidecar_internal.create_trigger(w, 'update', 'update' || case when unnamed then '' else ' of ' || of_columns end, w.relation,
                                   format('for each row when (%s)', sidecar_internal.difference(w.relation, w.key_columns, w.source)), 'row()');
    perform sidecar_internal.create_trigger(w, 'truncate', 'truncate', w.relation, 'for each statement', 'statement()');
    -- The vector was written by something other than a sidecar: an ORM that saves whole rows restores an old one. `force`: never skipped.
    perform sidecar_internal.create_trigger(w, 'target',
        'update' || case when unnamed and w.companion is null then '' else format(' of %I', w.target) end,
        coalesce(w.companion, w.relation),
        format('for each row when (current_setting(''sidecar.writer'', true) is distinct from ''on'' and (%s))',
               sidecar_internal.difference(coalesce(w.companion, w.relation), '{}', array[w.target])), 'row(''force'')');
end $$;

CREATE FUNCTION sidecar_internal.dblink_schema() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'dblink';
$$;

CREATE FUNCTION sidecar_internal.default_index_kind(method text, storage text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when method in ('hnsw', 'ivfflat') then 'halfvec' when method = 'diskann' then 'vector' else storage end;
$$;

CREATE FUNCTION sidecar_internal.default_storage(w sidecar_internal.watches, companion_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(sidecar_internal.storage_of(case when companion_name is null then w.relation else w.companion end, w.target),
                    (sidecar_internal.find_watch(w.relation, w.target)).storage, 'vector');
$$;

CREATE FUNCTION sidecar_internal.delete_tombstones(watch_ids integer[], floors bigint[]) RETURNS SETOF text
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10ms'
    AS $$
    select d.trouble from sidecar_internal.delete_tombstones_v2(watch_ids, floors) d where d.trouble is not null;
$$;

CREATE FUNCTION sidecar_internal.delete_tombstones_v2(watch_ids integer[], floors bigint[]) RETURNS TABLE(watch_id integer, deleted bigint, trouble text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10ms'
    AS $_$
declare
    floor bigint;
begin
    for watch_id, floor in select u.id, u.floor from unnest(watch_ids, floors) u(id, floor) loop
        deleted := 0;
        trouble := null;
        begin
            execute format('delete from sidecar_internal.ledger_%1$s l
                            where l.ctid = any (array(select x.ctid from sidecar_internal.ledger_%1$s x where x.content_hash is null
                                and x.gen < (select coalesce(min(e.gen), 9223372036854775807) from sidecar_internal.events_%1$s e where e.gen > $1)
                                limit 5000 for update skip locked))', watch_id) using floor;
            get diagnostics deleted = row_count;
        exception when others then
            trouble := format('tombstones of watch %s stay for now: %s', watch_id, sqlerrm);
        end;
        return next;
    end loop;
end $_$;

CREATE FUNCTION sidecar_internal.denial_of(w sidecar_internal.watches, role name) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(d.what || ': ' || d.remedy, '; ' order by d.what) from sidecar_internal.denials_of(w, role) d;
$$;

CREATE FUNCTION sidecar_internal.denials_of(w sidecar_internal.watches, role name) RETURNS TABLE(what text, remedy text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with watched as (
        select c.oid, c.relnamespace from pg_class c where c.oid in (w.relation, w.companion)
    ), column_right as (
        select r.action, string_agg(quote_ident(a.attname), ', ' order by a.attnum) as columns
            from pg_attribute a cross join (values ('select'), ('update')) as r(action)
            where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
              and ((a.attname = w.target and w.companion is null) or (r.action = 'select' and a.attname = any (w.key_columns || w.source)))
              and not has_column_privilege(denials_of.role, w.relation, a.attnum, r.action)
            group by r.action
    ), table_right as (
        select string_agg(r.action, ', ' order by r.position) as actions
            from unnest(array['select', 'insert', 'update', 'delete']) with ordinality as r(action, position)
            where exists (select from watched h where h.oid = w.companion)
              and not has_table_privilege(denials_of.role, w.companion, r.action)
    ), denial(what, remedy) as (
        select format('%I may not use schema %I', denials_of.role, n.nspname),
               format('grant usage on schema %I to %I', n.nspname, denials_of.role)
            from pg_namespace n
            where (n.oid in (select h.relnamespace from watched h) or n.oid = (select e.extnamespace from pg_extension e where e.extname = 'vector'))
              and not has_schema_privilege(denials_of.role, n.oid, 'usage')
        union all
        select format('%I may not %s %s of %s', denials_of.role, c.action, c.columns, w.relation),
               format('grant %s (%s) on %s to %I', c.action, c.columns, w.relation, denials_of.role) from column_right c
        union all
        select format('%I may not %s on %s', denials_of.role, t.actions, w.companion),
               format('grant %s on %s to %I', t.actions, w.companion, denials_of.role) from table_right t where t.actions is not null
        union all
        select format('row-level security of %s hides rows from %I', h.oid::regclass, denials_of.role),
               format('alter role %I bypassrls', denials_of.role)
            from watched h where sidecar_internal.rls_hides(h.oid, denials_of.role)
    )
    select * from denial d where exists (select from pg_roles r where r.rolname = denials_of.role);
$$;

CREATE FUNCTION sidecar_internal.did_you_mean(wanted text, names text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with w as materialized (select sidecar_internal.letter_pairs(wanted) as pairs)
    select coalesce((
        select format('Did you mean %L? ', n.name)
        from w
        cross join lateral (select u.name, sidecar_internal.letter_pairs(u.name) as pairs from unnest(names) u(name) offset 0) n
        cross join lateral (select 2.0 * count(*) / (cardinality(w.pairs) + cardinality(n.pairs)) as share
                            from unnest(n.pairs) x where x = any (w.pairs) offset 0) s
        where s.share >= 0.4
        order by s.share desc, n.name limit 1), '');
$$;

CREATE FUNCTION sidecar_internal.did_you_mean_column(wanted text, relation regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select sidecar_internal.did_you_mean(wanted, array(
        select a.attname::text from pg_attribute a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped));
$$;

CREATE FUNCTION sidecar_internal.difference(relation regclass, keys text[], columns text[]) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    with wanted as (
        select a.attname, a.attgenerated::text = 'v' as is_virtual,
               b.type in ('bytea'::regtype, 'text'::regtype, 'varchar'::regtype) and a.attname <> all (keys) as by_operator, b.type
            from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
            where a.attrelid = difference.relation and a.attnum > 0 and not a.attisdropped
              and a.attname = any (keys || difference.columns || sidecar_internal.generation_inputs(difference.relation, array(
                  select v.attname from pg_attribute v where v.attrelid = difference.relation
                  and v.attname = any (difference.columns) and v.attgenerated::text = 'v')))
    ), by_operator(expression) as (
        select format(case when w.type = 'bytea'::regtype then 'old.%1$I is distinct from new.%1$I'
                           else 'old.%1$I collate "C" is distinct from new.%1$I collate "C"' end, w.attname)
            from wanted w where w.by_operator and not w.is_virtual
    ), by_image(expression) as (
        select format('record_image_ne(row(%s), row(%s))', string_agg(format('old.%I', w.attname), ', '),
                      string_agg(format('new.%I', w.attname), ', '))
            from wanted w where not w.by_operator and not w.is_virtual
            having count(*) > 0
    ), not_computed(expression) as (
        select format('(false and old.%I is null)', w.attname) from wanted w where w.is_virtual
    )
    select string_agg(e.expression, ' or ')
        from (select * from by_image union all select * from by_operator union all select * from not_computed) e(expression);
$_$;

CREATE FUNCTION sidecar_internal.drop_foreign_triggers(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    foreign_trigger record;
begin
    for foreign_trigger in select t.tgname, t.tgrelid::regclass as relation from pg_trigger t join pg_proc p on p.oid = t.tgfoid
                 where t.tgrelid in (w.relation, w.companion) and t.tgparentid = 0
                   and p.pronamespace = 'sidecar_internal'::regnamespace
                   and not exists (select from sidecar_internal.watches x cross join sidecar_internal.triggers_of(x) own
                                   where x.unwatched_at is null and own.relation = t.tgrelid and own.name = t.tgname) loop
        execute format('drop trigger %I on %s', foreign_trigger.tgname, foreign_trigger.relation);
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.drop_queue(watch_id integer, keep_ledger boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $_$
begin
    if not keep_ledger then
        execute format('drop table if exists sidecar_internal.ledger_%1$s, sidecar_internal.former_%1$s', watch_id);
    end if;
    execute format('drop table if exists sidecar_internal.events_%1$s, sidecar_internal.delayed_%1$s', watch_id);
    execute format('drop function if exists sidecar_internal.enqueue_%1$s_statement(), sidecar_internal.enqueue_%1$s_row() cascade', watch_id);
    delete from sidecar_internal.failures d where d.watch_id = drop_queue.watch_id;
    delete from sidecar_internal.scans s where s.watch_id = drop_queue.watch_id;
    delete from sidecar_internal.breakages b where b.watch_id = drop_queue.watch_id;
    delete from sidecar_internal.index_failures f where f.watch_id = drop_queue.watch_id;
end $_$;

CREATE FUNCTION sidecar_internal.drop_schemas() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $$
begin
    drop schema sidecar, sidecar_internal cascade;
end $$;

CREATE FUNCTION sidecar_internal.drop_target(w sidecar_internal.watches, limits record) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $$
begin
    perform sidecar_internal.lock_table(coalesce(w.companion, w.relation), 'access exclusive', limits);
    if w.companion is null then
        execute format('alter table %s drop column if exists %I', w.relation, w.target);
    else
        execute format('drop table %s', w.companion);
    end if;
end $$;

CREATE FUNCTION sidecar_internal.drop_triggers(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    t record;
begin
    for t in select * from sidecar_internal.triggers_of(w) loop
        execute format('drop trigger %I on %s', t.name, t.relation);
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.embed_connection_fault() RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    ext constant text := sidecar_internal.dblink_schema();
    cause text;
begin
    if not exists (select from pg_foreign_server s where s.srvname = 'sidecar_embed') then
        return null;
    elsif ext is null then
        return 'extension dblink is missing';
    elsif not sidecar_internal.is_embed_enabled() then
        return 'it leads to the database that this one is a copy of';
    end if;
    execute format('select from %s.dblink(%L, %L) as r(ok integer)', ext, 'sidecar_embed', 'select 1');
    return null;
exception when others then
    get stacked diagnostics cause = pg_exception_detail;
    return concat_ws(': ', sqlerrm, nullif(cause, ''));
end $$;

CREATE PROCEDURE sidecar_internal.embed_content(IN fingerprint text, IN kind text, IN content bytea, IN timeout_ms integer, INOUT answer real[])
    LANGUAGE plpgsql
    AS $$
declare
    began constant timestamptz := pg_catalog.clock_timestamp();
    asked record;
    found_answer record;
begin
    <<asking>>
    loop
        asked := sidecar_internal.request_vector(fingerprint, kind, content, timeout_ms);
        commit;
        if asked.vector is not null then
            answer := asked.vector;
            return;
        end if;
        while asked.id is not null loop
            perform pg_catalog.pg_sleep(asked.pause_s);
            found_answer := sidecar_internal.read_answer(asked.id, fingerprint, began, asked.deadline);
            commit;
            if found_answer.vector is not null then
                answer := found_answer.vector;
                return;
            end if;
            continue asking when found_answer.is_gone;
            asked.pause_s := found_answer.pause_s;
        end loop;
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.embed_in_statement(fingerprint text, kind text, content bytea, timeout_ms integer) RETURNS public.vector
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    answer real[];
begin
    if content is null then
        return null;
    elsif not pg_is_in_recovery() then -- a standby has no unlogged tables
        select q.vector into answer from sidecar_internal.query_vectors q
            where q.fingerprint = embed_in_statement.fingerprint and q.kind = embed_in_statement.kind and q.digest = sha256(embed_in_statement.content)
              and q.vector is not null and q.used_at > clock_timestamp() - interval '1 hour';
    end if;
    return coalesce(answer, sidecar_internal.embed_over_connection(fingerprint, kind, content, timeout_ms));
end $$;

CREATE FUNCTION sidecar_internal.embed_over_connection(fingerprint text, kind text, content bytea, timeout_ms integer) RETURNS real[]
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $_$
declare
    ext constant text := sidecar_internal.dblink_schema();
    request constant text := format('call sidecar_internal.embed_content(%L, %L, %L, %L, null)', fingerprint, kind, content, timeout_ms);
    began constant timestamptz := clock_timestamp();
    is_open boolean;
    is_sent boolean;
    is_busy boolean;
    answer real[];
begin
    if ext is null or not sidecar_internal.is_embed_enabled() then
        raise exception 'sidecar.embed cannot ask within a statement yet' using errcode = 'object_not_in_prerequisite_state',
            hint = 'Let the owner of schema sidecar run once: call sidecar.enable_embed(); or ask beforehand: call sidecar.embed(content, target => ..., vector => null);';
    end if;
    for attempt in 1 .. 2 loop
        begin
            execute format('select coalesce(%2$L = any (%1$s.dblink_get_connections()), false)', ext, 'sidecar_embed') into is_open;
            if not is_open then
                execute format('select %1$s.dblink_connect(%2$L, %2$L)', ext, 'sidecar_embed');
            end if;
            execute format('select %1$s.dblink_send_query(%2$L, $1) = 1', ext, 'sidecar_embed') into is_sent using request;
            if not is_sent then
                raise exception 'the connection of sidecar.embed is lost' using errcode = 'connection_failure';
            end if;
            loop
                execute format('select %1$s.dblink_is_busy(%2$L) = 1', ext, 'sidecar_embed') into is_busy;
                exit when not is_busy;
                perform pg_sleep(least(greatest(0.0005, extract(epoch from clock_timestamp() - began) / 20), 0.05));
            end loop;
            execute format('select r.answer from %1$s.dblink_get_result(%2$L) as r(answer real[])', ext, 'sidecar_embed') into answer;
            execute format('select from %1$s.dblink_get_result(%2$L) as r(answer real[])', ext, 'sidecar_embed'); -- its end
            return answer;
        exception when others then
            execute format('select %1$s.dblink_disconnect(%2$L) from (select unnest(%1$s.dblink_get_connections()) as name) c where c.name = %2$L', ext, 'sidecar_embed');
            if attempt = 2 or not (sqlstate like '08%' or sqlstate in ('57P01', '57P02', '57P05')) then
                raise;
            end if;
        end;
    end loop;
end $_$;

CREATE FUNCTION sidecar_internal.embed_role() RETURNS name
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('sidecar_embed_%s', d.oid)::name from pg_database d where d.datname = current_database();
$$;

CREATE FUNCTION sidecar_internal.end_watch(watch_id integer, relation regclass, drop_target boolean, limits record) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar_internal.watches;
    is_there constant boolean := exists (select from pg_class c where c.oid = end_watch.relation);
begin
    perform set_config('lock_timeout', limits.theirs, true);
    select * into w from sidecar_internal.watches x where x.id = watch_id and (x.unwatched_at is null or drop_target) for update;
    if not found then
        raise exception 'table % is no longer watched', relation using errcode = 'undefined_object',
            hint = 'Another session has just ended the watch.';
    end if;
    perform set_config('lock_timeout', limits.ours, true);
    perform sidecar_internal.release_tables(w, limits);
    perform sidecar_internal.revoke_table(w);
    -- The OID of a companion that was dropped before a dump may belong to another table after the restore.
    if drop_target and exists (select from pg_class c where c.oid = coalesce(w.companion, w.relation))
            and (w.companion is null or sidecar_internal.storage_of(w.companion, w.target) is not null) then
        perform sidecar_internal.drop_target(w, limits);
    end if;
    perform sidecar_internal.drop_queue(w.id, keep_ledger => is_there and not drop_target);
    if is_there and not drop_target then
        update sidecar_internal.watches x set unwatched_at = now(), paused = false, broken = null where x.id = w.id;
    else
        delete from sidecar_internal.watches x where x.id = w.id;
    end if;
end $$;

CREATE FUNCTION sidecar_internal.enqueue_emptied_companion() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar_internal.watches;
begin
    select * into w from sidecar_internal.watches x where x.id = tg_argv[0]::integer and x.companion = tg_relid and x.unwatched_at is null;
    if found then
        execute format('insert into sidecar_internal.events_%s (force) values (true)', w.id);
        perform sidecar_internal.wake_sleepers(w.id);
    end if;
    return null;
exception when others then
    perform sidecar_internal.report_breakage(w.id, sqlstate, sqlerrm);
    return null;
end $$;

CREATE FUNCTION sidecar_internal.enqueue_lost_vectors() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    w sidecar_internal.watches;
begin
    select * into w from sidecar_internal.watches x where x.id = tg_argv[0]::integer and x.companion = tg_relid and x.unwatched_at is null;
    if found then
        execute format('insert into sidecar_internal.events_%s (%s) select %s from lost_rows r where %s', w.id,
                       sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'),
                       sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.companion, 'r'), '%3$s'), sidecar_internal.keys_fit(w, 'r'));
        perform sidecar_internal.wake_sleepers(w.id);
    end if;
    return null;
exception when others then
    perform sidecar_internal.report_breakage(w.id, sqlstate, sqlerrm);
    return null;
end $_$;

CREATE FUNCTION sidecar_internal.events_of_key(watch_id integer, key jsonb, only_times timestamp with time zone[] DEFAULT NULL::timestamp with time zone[], OUT gens bigint[], OUT times timestamp with time zone[], OUT is_own boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    w sidecar_internal.watches;
begin
    select * into w from sidecar_internal.watches x where x.id = watch_id and x.unwatched_at is null;
    if w.id is not null and sidecar_internal.key_fault(w) is null then
        execute format($sql$
            with wanted as materialized (select r.* from %1$s)
            select array_agg(e.gen), array_agg(e.enqueued_at), bool_or(e.own) from (
                select t.gen, t.enqueued_at, sidecar_internal.is_own_uncommitted(t.xmin) as own
                    from wanted r join sidecar_internal.events_%2$s t on (%3$s) or t.k1 is null
                union all select t.gen, t.enqueued_at, false from wanted r join sidecar_internal.delayed_%2$s t on (%3$s) or t.k1 is null) e
            where $2 is null or e.enqueued_at = any ($2)
        $sql$, sidecar_internal.typed_key(w, '$1'), w.id, sidecar_internal.for_each_key(w.key_columns, null, 't.k%1$s = r.k%1$s', ' and '))
            into gens, times, is_own using sidecar_internal.numbered_key(w, key), only_times;
    end if;
end $_$;

CREATE FUNCTION sidecar_internal.exact_keys(w sidecar_internal.watches, vector_table regclass, row_name text) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array_agg(format('sidecar_internal.exactly(%s, %s.%I)', case when t.typtype = 'd' then format('(null::%s[])[1]', format_type(t.oid, null))
                                                          else format('(null::sidecar_internal.events_%s).k%s', w.id, u.i) end, row_name, u.c)
                     || sidecar_internal.collation_over_domain(a) order by u.i)
        from unnest(w.key_columns) with ordinality u(c, i)
        left join pg_attribute a on a.attrelid = vector_table and a.attname = u.c
        left join pg_type t on t.oid = a.atttypid;
$$;

CREATE FUNCTION sidecar_internal.exactly(expected anyelement, value anyelement) RETURNS anyelement
    LANGUAGE sql IMMUTABLE
    AS $_$select $2$_$;

CREATE FUNCTION sidecar_internal.exposed_by_all(watches sidecar_internal.watches[]) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array(select e.name from unnest(sidecar_internal.exposed_columns(watches[1])) with ordinality e(name, n)
                 where (select bool_and(e.name = any (w.expose)) from unnest(watches) w) order by e.n);
$$;

CREATE FUNCTION sidecar_internal.exposed_columns(w sidecar_internal.watches) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array(select e.name from unnest(sidecar_internal.without_picture(w)) with ordinality e(name, n)
                 where exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = e.name
                               and a.attnum > 0 and not a.attisdropped) order by e.n);
$$;

CREATE FUNCTION sidecar_internal.exposed_document(w sidecar_internal.watches, columns text[], config regconfig) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    wrong record;
begin
    select c.name, b.type = 'tsvector'::regtype as is_tsvector into wrong
        from unnest(columns) with ordinality c(name, n)
        left join pg_attribute a on a.attrelid = w.relation and a.attname = c.name and a.attnum > 0 and not a.attisdropped
            and c.name = any (w.key_columns || w.expose)
        left join lateral sidecar_internal.base_type(a.atttypid, a.atttypmod) b on a.attname is not null
        where b.type is null or not (b.type = any (array['text', 'varchar', 'bpchar']::regtype[])
                                     or (b.type = 'tsvector'::regtype and cardinality(columns) = 1))
        order by c.n limit 1;
    if found or coalesce(cardinality(columns), 0) = 0 then
        raise exception 'column % %', coalesce(quote_literal(wrong.name), 'NULL'),
                case when wrong.is_tsvector then 'is a tsvector, which is searched alone' else 'is no exposed text' end
            using errcode = 'wrong_object_type', column = 'hybrid.columns', hint = 'Name exposed text columns, or one exposed tsvector column.';
    end if;
    return (select case when bool_and(b.type = 'tsvector'::regtype) then string_agg(f.expression, '' order by c.n)
                   else format('to_tsvector(%L::regconfig, %s)', config, string_agg(format('coalesce(%s, '''')', f.expression), ' || '' '' || ' order by c.n)) end
            from unnest(columns) with ordinality c(name, n) join pg_attribute a on a.attrelid = w.relation and a.attname = c.name
            cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b cross join lateral (select sidecar_internal.found_column(w.relation, 't', c.name) as expression) f);
end $$;

CREATE FUNCTION sidecar_internal.exposes_picture(w sidecar_internal.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select w.kind = 'image' and w.source[1] = any (w.expose)
       and exists (select from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
                   where a.attrelid = w.relation and a.attname = w.source[1] and a.attnum > 0 and not a.attisdropped and b.type = 'bytea'::regtype);
$$;

CREATE FUNCTION sidecar_internal.failure_key(key jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when failure_key.key is null or octet_length(failure_key.key::text) <= 1000 then failure_key.key
           else jsonb_build_object('digest', encode(int8send(jsonb_hash_extended(failure_key.key, 0))
                                                    || int8send(jsonb_hash_extended(failure_key.key, 1)), 'hex')) end;
$$;

CREATE FUNCTION sidecar_internal.fault_of(w sidecar_internal.watches) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION sidecar_internal.filter_column(w sidecar_internal.watches, row_name text, column_name text, allowed text[], path text, OUT kind text, OUT type text, OUT printed text, OUT expression text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    select c.kind, c.type, c.printed, c.expression into kind, type, printed, expression
        from sidecar_internal.filter_columns(w, row_name, array[column_name], allowed is not null) c
        where allowed is null or column_name = any (allowed);
    if found and kind is not null then
        return;
    elsif found then
        raise exception 'column % has a type that a filter cannot compare', quote_literal(column_name)
            using errcode = 'wrong_object_type', column = path, hint = 'Built-in scalar types, enums, arrays of built-in types and jsonb can be compared.';
    elsif starts_with(column_name, '$') then
        perform sidecar_internal.raise_filter_fault(path, 'there is no such operator here', '22023',
            'Only $and, $or and $not; others belong to a column: {"price": {"$gte": 10}}.');
    elsif allowed is null then
        raise exception 'table % has no column % to filter by', w.relation, quote_literal(column_name)
            using errcode = 'undefined_column', column = path,
                  hint = concat(sidecar_internal.did_you_mean_column(column_name, w.relation), 'filter has columns of the table: {"tenant": 7}.');
    end if;
    raise exception 'column % is not exposed by the watch', quote_literal(column_name) using errcode = 'undefined_column', column = path,
        hint = format('%sIts columns: %s. To add one: sidecar.watch(..., expose => array[...], replace => true).',
                      sidecar_internal.did_you_mean(column_name, allowed), array_to_string(allowed, ', '));
end $_$;

CREATE FUNCTION sidecar_internal.filter_columns(w sidecar_internal.watches, row_name text, names text[], exposed boolean) RETURNS TABLE(name text, kind text, type text, printed text, expression text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    with scalars(type) as (values
        ('bool'::regtype), ('int2'), ('int4'), ('int8'), ('numeric'), ('float4'), ('float8'), ('text'), ('varchar'), ('bpchar'), ('name'), ('"char"'),
        ('uuid'), ('date'), ('time'), ('timetz'), ('timestamp'), ('timestamptz'), ('interval'), ('inet'), ('cidr'), ('macaddr'), ('macaddr8'),
        ('bit'), ('varbit'), ('money'), ('bytea'), ('oid'))
    select c.name, c.kind, format('%I.%I', n.nspname, v.typname), c.printed,
           format(case when c.kind = 'enum' then 'case when %2$s.%3$I is not null then concat(%2$s.%3$I) end'
                       when c.kind = 'other' then '%2$s.%3$I'
                       when c.declared = c.type and c.kind = 'array' then 'sidecar_internal.exactly(null::%1$s, %2$s.%3$I)'
                       else 'sidecar_internal.exactly((null::%1$s[])[1], %2$s.%3$I)' || c.collated end, format_type(c.declared, null), row_name, c.name)
    from (select a.attname::text as name, a.atttypid as declared, b.type, b.printed, t.typelem as element,
                 case when t.typtype = 'e' then 'enum'
                      when t.oid in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'name'::regtype) then 'text'
                      when t.oid in (select s.type from scalars s) then 'scalar'
                      when t.oid = 'jsonb'::regtype then 'jsonb'
                      when exists (select from pg_type e join scalars s on s.type = e.oid where e.typarray = t.oid) then 'array'
                      when not exposed then 'other' end as kind, sidecar_internal.collation_over_domain(a) as collated
          from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b join pg_type t on t.oid = b.type
          where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped and a.attname = any (names)) c
    join pg_type v on v.oid = case c.kind when 'array' then c.element else c.type end join pg_namespace n on n.oid = v.typnamespace;
$_$;

CREATE FUNCTION sidecar_internal.filter_comparison(c record, operator text, wanted text[], paths text[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    places real[];
begin
    if c.kind = 'enum' then
        places := array(select e.enumsortorder from unnest(wanted) with ordinality v(label, n)
                        left join pg_enum e on e.enumtypid = to_regtype(c.type) and e.enumlabel = v.label order by v.n);
        if array_position(places, null) is not null then
            perform sidecar_internal.raise_filter_fault(paths[p.n], format('invalid input value for enum %s: "%s"', c.type, wanted[p.n]), '22P02')
                from (select array_position(places, null) as n) p;
        end if;
        return format('%s = any (%L::pg_catalog.text[])', c.expression, array(
            select e.enumlabel::text from pg_enum e where e.enumtypid = to_regtype(c.type)
            and case operator when '=' then e.enumsortorder = any (places) when '<' then e.enumsortorder < places[1] when '<=' then e.enumsortorder <= places[1]
                              when '>' then e.enumsortorder > places[1] when '>=' then e.enumsortorder >= places[1]
                              else e.enumsortorder between places[1] and places[2] end order by e.enumsortorder));
    end if;
    perform sidecar_internal.check_filter_values(c.type, wanted, paths);
    return case operator
        when 'between' then format('(%1$s >= %2$L::%4$s and %1$s <= %3$L::%4$s)', c.expression, wanted[1], wanted[2], c.type)
        when '=' then case when cardinality(wanted) = 1 then format('%s = %L::%s', c.expression, wanted[1], c.type)
                           else format('%s = any (%L::%s[])', c.expression, wanted, c.type) end
        else format('%s %s %L::%s', c.expression, operator, wanted[1], c.type) end;
end $_$;

CREATE FUNCTION sidecar_internal.filter_condition(w sidecar_internal.watches, filter jsonb, row_name text, allowed text[] DEFAULT NULL::text[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if filter is null or filter = '{}' then
        return '';
    elsif pg_column_size(filter) > 16 * 1024 * 1024 then
        perform sidecar_internal.raise_filter_fault('filter', 'it has more than 16 MiB', '54000');
    end if;
    return ' and ' || (sidecar_internal.filter_node(w, filter, row_name, allowed, 'filter', 1, 0)).condition;
end $$;

CREATE FUNCTION sidecar_internal.filter_containment(c record, operator text, operand jsonb, path text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    wanted text[];
    paths text[];
begin
    if operator = '$any' and jsonb_typeof(operand) <> 'array' then
        perform sidecar_internal.raise_filter_fault(path, 'it is not a list of values', '22023', 'For example {"$any": ["a", "b"]}.');
    elsif c.kind = 'jsonb' and operator = '$contains' then
        return format('%s @> %L::pg_catalog.jsonb', c.expression, operand::text);
    elsif c.kind = 'jsonb' then
        return format('(%s)', coalesce((select string_agg(format('%s @> %L::pg_catalog.jsonb', c.expression, v.value::text), ' or ' order by v.n)
                                        from jsonb_array_elements(operand) with ordinality v(value, n)), 'false'));
    end if;
    select v.wanted, v.paths into wanted, paths from sidecar_internal.filter_values(operand, path, false) v;
    perform sidecar_internal.check_filter_values(c.type, wanted, paths);
    return format('%s %s %L::%s[]', c.expression, case operator when '$any' then '&&' else '@>' end, wanted, c.type);
end $_$;

CREATE FUNCTION sidecar_internal.filter_equality(c record, operand jsonb, is_list boolean, path text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    wanted text[];
    paths text[];
    present text[];
    condition text;
    array_type constant text := case when c.kind = 'array' then c.type || '[]' end;
begin
    if c.kind = 'jsonb' then
        operand := case when is_list then operand else jsonb_build_array(operand) end;
        condition := (select string_agg(format('%s = %L::pg_catalog.jsonb', c.expression, v.value::text), ' or ' order by v.n)
                      from jsonb_array_elements(operand) with ordinality v(value, n) where jsonb_typeof(v.value) <> 'null');
        paths := array(select 'null' from jsonb_array_elements(operand) v(value) where jsonb_typeof(v.value) = 'null');
        return format('(%s)', concat_ws(' or ', condition, case when cardinality(paths) > 0 then c.expression || ' is null' end,
                                        case when jsonb_array_length(operand) = 0 then 'false' end));
    end if;
    select v.wanted, v.paths into wanted, paths from sidecar_internal.filter_values(operand, path, true) v;
    paths := array(select p.path from unnest(wanted, paths) with ordinality p(value, path, n) where p.value is not null order by p.n);
    present := array_remove(wanted, null);
    if c.kind = 'other' then
        condition := (select format('%s in (%s)', c.expression, string_agg(quote_literal(v.value), ', ' order by v.n))
                      from unnest(present) with ordinality v(value, n) having count(*) > 0);
    elsif c.kind = 'array' then
        for i in 1 .. cardinality(present) loop
            if (sidecar_internal.input_error(present[i], array_type)).message is not null then
                perform sidecar_internal.raise_filter_fault(paths[i], (sidecar_internal.input_error(present[i], array_type)).message, '22P02',
                    'Ask an array what it holds: {"$contains": ["a"]} for all of a list, {"$any": ["a", "b"]} for at least one.');
            end if;
        end loop;
        condition := (select string_agg(format('%s = %L::%s', c.expression, v.value, array_type), ' or ' order by v.n) from unnest(present) with ordinality v(value, n));
    elsif cardinality(present) > 0 then
        condition := sidecar_internal.filter_comparison(c, '=', present, paths);
    end if;
    condition := concat_ws(' or ', condition, case when cardinality(present) < cardinality(wanted) then c.expression || ' is null' end);
    return format('(%s)', coalesce(nullif(condition, ''), 'false'));
end $_$;

CREATE FUNCTION sidecar_internal.filter_node(w sidecar_internal.watches, node jsonb, row_name text, allowed text[], path text, depth integer, INOUT conditions integer, OUT condition text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    entry record;
    inner_node record;
    parts text[] := '{}';
    alternatives text[];
begin
    if jsonb_typeof(node) <> 'object' then
        perform sidecar_internal.raise_filter_fault(path, 'it is not an object', '22023', 'A filter is an object of columns: {"tenant": 7}.');
    elsif depth > 20 then
        perform sidecar_internal.raise_filter_fault(path, 'filters are nested more than 20 levels deep', '54000');
    end if;
    for entry in select e.key, e.value, format('%s.%s', path, e.key) as path from jsonb_each(node) e order by e.key collate "C" loop
        if entry.key in ('$and', '$or') then
            if jsonb_typeof(entry.value) <> 'array' or entry.value = '[]' then
                perform sidecar_internal.raise_filter_fault(entry.path, 'it is not a list of filters', '22023', format('For example {"%s": [{"tenant": 7}, {"tenant": null}]}.', entry.key));
            end if;
            alternatives := '{}';
            for inner_node in select v.value, v.n from jsonb_array_elements(entry.value) with ordinality v(value, n) order by v.n loop
                select f.conditions, alternatives || f.condition into conditions, alternatives from sidecar_internal.filter_node(
                    w, inner_node.value, row_name, allowed, format('%s[%s]', entry.path, inner_node.n - 1), depth + 1, conditions) f;
            end loop;
            parts := parts || format('(%s)', array_to_string(alternatives, case entry.key when '$and' then ' and ' else ' or ' end));
        elsif entry.key = '$not' then
            select f.conditions, parts || format('%s is not true', f.condition) into conditions, parts
                from sidecar_internal.filter_node(w, entry.value, row_name, allowed, entry.path, depth + 1, conditions) f;
        else
            parts := parts || sidecar_internal.filter_on_column(c, entry.value, entry.path)
                from sidecar_internal.filter_column(w, row_name, entry.key, allowed, entry.path) c;
            conditions := conditions + 1;
        end if;
        if conditions > 2000 then
            perform sidecar_internal.raise_filter_fault(entry.path, 'the filter has more than 2000 conditions', '54000');
        end if;
    end loop;
    condition := format('(%s)', coalesce(nullif(array_to_string(parts, ' and '), ''), 'true'));
end $_$;

CREATE FUNCTION sidecar_internal.filter_on_column(c record, asked jsonb, path text) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    misplaced text;
begin
    if jsonb_typeof(asked) = 'array' then
        return array[sidecar_internal.filter_equality(c, asked, true, path)];
    elsif jsonb_typeof(asked) <> 'object' or (c.kind = 'jsonb' and not exists (select from jsonb_object_keys(asked) o(name) where o.name like '$%')) then
        return array[sidecar_internal.filter_equality(c, asked, false, path)];
    end if;
    select o.name into misplaced from jsonb_object_keys(asked) o(name) where o.name not like '$%' limit 1;
    if misplaced is not null or asked = '{}' then
        perform sidecar_internal.raise_filter_fault(path, format('%s is not an operator', coalesce(quote_literal(misplaced), '{}')), '22023',
            'The names of operators begin with $: {"price": {"$gte": 10, "$lt": 50}}.');
    end if;
    return array(select sidecar_internal.filter_operation(c, o.key, o.value, format('%s.%s', path, o.key)) from jsonb_each(asked) o order by o.key collate "C");
end $_$;

CREATE FUNCTION sidecar_internal.filter_operation(c record, operator text, operand jsonb, path text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    suited text[];
    wanted text[];
    paths text[];
begin
    suited := case operator when '$eq' then null when '$ne' then null when '$in' then null when '$nin' then null when '$null' then null
                            when '$lt' then array['text', 'scalar', 'enum'] when '$lte' then array['text', 'scalar', 'enum']
                            when '$gt' then array['text', 'scalar', 'enum'] when '$gte' then array['text', 'scalar', 'enum']
                            when '$between' then array['text', 'scalar', 'enum'] when '$prefix' then array['text']
                            when '$contains' then array['array', 'jsonb'] when '$any' then array['array', 'jsonb'] else '{}' end;
    if suited = '{}' then
        perform sidecar_internal.raise_filter_fault(path, 'there is no such operator', '22023',
            '$eq, $ne, $in, $nin, $lt, $lte, $gt, $gte, $between, $null, $prefix, $contains, $any.');
    elsif c.kind <> all (suited) then
        perform sidecar_internal.raise_filter_fault(path, format('a column of type %s cannot be compared so', c.printed), '42809', case operator
            when '$prefix' then '$prefix is for texts.' when '$contains' then '$contains is for arrays and jsonb.' when '$any' then '$any is for arrays and jsonb.'
            else format('%s is for types with an order; ask an array or jsonb for what it holds with $contains or $any.', operator) end);
    elsif operator in ('$in', '$nin') and jsonb_typeof(operand) <> 'array' then
        perform sidecar_internal.raise_filter_fault(path, 'it is not a list', '22023', format('For example {"%s": [1, 2]}.', operator));
    elsif operator = '$null' and jsonb_typeof(operand) <> 'boolean' then
        perform sidecar_internal.raise_filter_fault(path, 'it is neither true nor false', '22023', '{"$null": true} finds rows without a value.');
    elsif operator = '$between' and (jsonb_typeof(operand) <> 'array' or jsonb_array_length(operand) <> 2) then
        perform sidecar_internal.raise_filter_fault(path, 'it is not a list of two values', '22023', 'For example {"$between": [10, 20]}; both are included.');
    elsif operator = '$prefix' and jsonb_typeof(operand) <> 'string' then
        perform sidecar_internal.raise_filter_fault(path, 'it is not a text', '22023', 'For example {"$prefix": "AB-"}.');
    end if;
    case
        when operator = '$null' then
            return format('%s is %snull', c.expression, case when operand = 'true' then '' else 'not ' end);
        when operator in ('$eq', '$ne') and c.kind = 'array' and jsonb_typeof(operand) = 'array' then
            select v.wanted, v.paths into wanted, paths from sidecar_internal.filter_values(operand, path, false) v;
            perform sidecar_internal.check_filter_values(c.type, wanted, paths);
            return format(case operator when '$ne' then '(%s = %L::%s[]) is not true' else '%s = %L::%s[]' end, c.expression, wanted, c.type);
        when operator in ('$eq', '$ne') and jsonb_typeof(operand) = 'array' and c.kind <> 'jsonb' then
            perform sidecar_internal.raise_filter_fault(path, 'it is a list, not a value', '22023', 'Ask for one of a list with $in, for none of it with $nin.');
        when operator in ('$eq', '$in') then
            return sidecar_internal.filter_equality(c, operand, operator = '$in', path);
        when operator in ('$ne', '$nin') then
            return format('%s is not true', sidecar_internal.filter_equality(c, operand, operator = '$nin', path));
        when operator = '$prefix' then
            -- In the collation of bytes: case-sensitive everywhere, and what an index with text_pattern_ops serves.
            return format('%s collate pg_catalog."C" like %L', c.expression, regexp_replace(operand #>> '{}', '([\\%_])', '\\\1', 'g') || '%');
        when operator in ('$contains', '$any') then
            return sidecar_internal.filter_containment(c, operator, operand, path);
        else
            if operator <> '$between' and jsonb_typeof(operand) = 'array' then
                perform sidecar_internal.raise_filter_fault(path, 'it is a list, not a value', '22023');
            end if;
            select v.wanted, v.paths into wanted, paths from sidecar_internal.filter_values(operand, path, false) v;
            return sidecar_internal.filter_comparison(c, case operator when '$lt' then '<' when '$lte' then '<=' when '$gt' then '>' when '$gte' then '>='
                                                                       else 'between' end, wanted, paths);
    end case;
end $_$;

CREATE FUNCTION sidecar_internal.filter_values(operand jsonb, path text, may_be_null boolean, OUT wanted text[], OUT paths text[]) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    wrong record;
begin
    if jsonb_typeof(operand) <> 'array' then
        operand := jsonb_build_array(operand);
        paths := array[path];
    else
        paths := array(select format('%s[%s]', path, i) from generate_series(0, jsonb_array_length(operand) - 1) i);
    end if;
    select v.n, jsonb_typeof(v.value) as kind into wrong from jsonb_array_elements(operand) with ordinality v(value, n)
        where jsonb_typeof(v.value) in ('object', 'array') or (jsonb_typeof(v.value) = 'null' and not may_be_null) order by v.n limit 1;
    if found then
        perform sidecar_internal.raise_filter_fault(paths[wrong.n], format(case wrong.kind when 'null' then 'null cannot be compared'
            else 'it is an %s, not a value' end, wrong.kind), '22023', case wrong.kind when 'null' then 'Ask for {"$null": true}.' else '' end);
    end if;
    wanted := array(select v.value #>> '{}' from jsonb_array_elements(operand) with ordinality v(value, n) order by v.n);
end $_$;

CREATE FUNCTION sidecar_internal.find_first(watch_ids integer[], floors bigint[]) RETURNS TABLE(watch_id integer, first bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10ms'
    AS $_$
declare
    floor bigint;
begin
    for watch_id, floor in select u.id, u.floor from unnest(watch_ids, floors) u(id, floor) loop
        begin
            first := null;
            if pg_relation_size(to_regclass('sidecar_internal.events_' || watch_id)) > 0 then
                execute format('select min(e.gen) from sidecar_internal.events_%s e where e.gen > $1', watch_id) into first using floor;
            end if;
            return next;
        exception when lock_not_available or undefined_table then
            continue;
        end;
    end loop;
end $_$;

CREATE FUNCTION sidecar_internal.find_index(vector_table regclass, target text, OUT index regclass, OUT valid boolean) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select i.index, i.valid
        from sidecar_internal.watches w cross join lateral sidecar_internal.usable_indexes(w, find_index.vector_table) i
        where coalesce(w.companion, w.relation) = find_index.vector_table and w.target = find_index.target
        order by i.valid desc, i.index limit 1;
$$;

CREATE FUNCTION sidecar_internal.find_query_model(target text) RETURNS text
    LANGUAGE plpgsql STABLE
    AS $$
declare
    parts constant text[] := case when target is not null then pg_catalog.parse_ident(target) end;
    relation regclass := pg_catalog.to_regclass(sidecar_internal.quoted_name(pg_catalog.trim_array(parts, 1)));
    column_name text;
begin
    if relation is not null then
        column_name := parts[pg_catalog.cardinality(parts)];
    else
        relation := pg_catalog.to_regclass(sidecar_internal.quoted_name(parts));
    end if;
    return sidecar_internal.query_model(target, relation, column_name);
end $$;

CREATE FUNCTION sidecar_internal.find_unindexed(watch_ids integer[]) RETURNS SETOF integer
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10ms'
    AS $$
declare
    w sidecar_internal.watches;
    has_entries boolean;
begin
    for w in select x.* from sidecar_internal.watches x
             where x.id = any (watch_ids)
               and not exists (select from sidecar_internal.index_failures f where f.watch_id = x.id and f.next_try_at > clock_timestamp())
             order by x.id loop
        begin
            execute format('select exists (select from sidecar_internal.ledger_%s)', w.id) into has_entries;
            if (has_entries or w.index_kind = 'none') and exists (select from sidecar_internal.index_steps(w)) then
                return next w.id;
            end if;
        exception when others then
            return next w.id; -- The index keeper's statement raises it again, and reports it.
        end;
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.find_unreadable_filter_value(w sidecar_internal.watches, filter jsonb, OUT column_name text, OUT complaint text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    asked record;
begin
    for asked in select f.key, c.filter_type, array(select jsonb_array_elements_text(case jsonb_typeof(f.value) when 'array' then f.value
                                                                                     else jsonb_build_array(f.value) end)) as wanted
                 from jsonb_each(filter) f join sidecar_internal.searchable_columns(w) c on c.name = f.key
                 where c.filter_type is not null and jsonb_typeof(f.value) <> 'object' order by f.key collate "C" loop
        if to_regtype(asked.filter_type)::oid >= 16384 then  -- an enum
            select asked.key, format('invalid input value for enum %s: "%s"', asked.filter_type, u.label) into column_name, complaint
                from unnest(asked.wanted) u(label)
                where not exists (select from pg_enum e where e.enumtypid = to_regtype(asked.filter_type) and e.enumlabel = u.label) limit 1;
            if found then
                return;
            end if;
            continue;
        end if;
        begin
            execute format('select $1::%s[]', asked.filter_type) using asked.wanted::text;
        exception when data_exception then
            column_name := asked.key;
            complaint := sqlerrm;
            return;
        end;
    end loop;
end $_$;

CREATE FUNCTION sidecar_internal.find_watch(relation regclass, target text) RETURNS sidecar_internal.watches
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select w from sidecar_internal.watches w where w.relation = find_watch.relation and w.target = find_watch.target;
$$;

CREATE FUNCTION sidecar_internal.find_work(watch_ids integer[], floors bigint[], late bigint[]) RETURNS TABLE(watch_id integer, waiting boolean, due boolean)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10ms'
    AS $_$
declare
    latest constant bigint := sidecar_internal.horizon_floor(9223372036854775807 || late);
    floor bigint;
begin
    for watch_id, floor in select u.id, u.floor from unnest(watch_ids, floors) u(id, floor) loop
        waiting := false;
        due := false;
        begin
            if pg_relation_size(to_regclass('sidecar_internal.events_' || watch_id)) > 0 then
                execute format('select (select e.gen from sidecar_internal.events_%s e where e.gen > $1 and (e.lease_until is null or e.lease_until < now())
                                        order by e.gen limit 1) is not null', watch_id) into waiting using least(floor, latest);
            end if;
            if pg_relation_size(to_regclass('sidecar_internal.delayed_' || watch_id)) > 0 then
                execute format('select (select d.run_at from sidecar_internal.delayed_%s d where d.run_at <= now() order by d.run_at limit 1) is not null',
                               watch_id) into due;
            end if;
        exception
            when lock_not_available or undefined_table then
                continue;
            when others then
                waiting := true;
        end;
        if waiting or due then
            return next;
        end if;
    end loop;
end $_$;

CREATE FUNCTION sidecar_internal.follow_changes(only_relation regclass DEFAULT NULL::regclass, new_target text DEFAULT NULL::text) RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar_internal.watches;
    present sidecar_internal.watches;
    done text;
begin
    for w in select x.* from sidecar_internal.watches x left join pg_class c on c.oid = x.relation
             where c.oid is null or ((only_relation is null or x.relation = only_relation) and x.unwatched_at is null) loop
        present := sidecar_internal.with_present_names(w);
        done := null;
        if not exists (select from pg_class c where c.oid = w.relation) then
            done := case when sidecar_internal.forget_watch(w.id)
                    then format('watch %s on %s is forgotten: its table was dropped', w.id, w.target) end;
        elsif (present.source, present.target) is distinct from (w.source, w.target) then
            done := case when sidecar_internal.apply_renames(w, present) then format('watch %s follows renamed columns of %s: %s -> %s is now %s -> %s',
                         w.id, w.relation, w.source, w.target, present.source, present.target) end;
        end if;
        if done is not null then
            perform pg_notify('sidecar_watches', '');
            return next done;
        end if;
    end loop;
    perform sidecar_internal.rename_former_target(only_relation, new_target);
end $$;

CREATE FUNCTION sidecar_internal.for_each_key(columns text[], types text[], pattern text, separator text DEFAULT ', '::text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(format(pattern, i, columns[i], types[i]), separator order by i) from generate_subscripts(columns, 1) i;
$$;

CREATE FUNCTION sidecar_internal.forget_watch(watch_id integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '250ms'
    AS $$
declare
    w sidecar_internal.watches;
begin
    select * into w from sidecar_internal.watches x where x.id = forget_watch.watch_id for update skip locked;
    if not found then
        return false;
    end if;
    begin
        perform sidecar_internal.release_companion(w);
    exception when insufficient_privilege then
        null; -- Another role's table: its trigger does nothing from now on.
    end;
    perform sidecar_internal.drop_queue(watch_id, keep_ledger => false);
    delete from sidecar_internal.watches x where x.id = forget_watch.watch_id;
    return true;
exception when lock_not_available or deadlock_detected or insufficient_privilege then
    return false;
end $$;

CREATE FUNCTION sidecar_internal.former_indexes(w sidecar_internal.watches, OUT index regclass, OUT statement text) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION sidecar_internal.found_column(relation regclass, row_name text, column_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format(case when b.type < 16384 and b.type <> a.atttypid then 'sidecar_internal.exactly((null::%3$s[])[1], %1$s.%2$I)'
                  when b.type < 16384 then 'sidecar_internal.exactly(null::%3$s, %1$s.%2$I)' else '%1$s.%2$I' end, row_name, a.attname,
                  format_type(a.atttypid, null))
        from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        where a.attrelid = found_column.relation and a.attname = column_name and a.attnum > 0 and not a.attisdropped;
$_$;

CREATE FUNCTION sidecar_internal.found_share(exact double precision[], near double precision[], k integer) RETURNS double precision
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION sidecar_internal.free_generation(watch_id integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    used bigint;
begin
    select greatest(sidecar_internal.highest_generation(format('sidecar_internal.events_%s', watch_id)),
                    sidecar_internal.highest_generation(format('sidecar_internal.delayed_%s', watch_id)), max(w.truncated_gen))
        into used from sidecar_internal.watches w;
    -- With a margin, because other sessions draw from the sequence before setval.
    perform setval('sidecar_internal.generation', used + 100000) from sidecar_internal.generation s where s.last_value <= used;
    return nextval('sidecar_internal.generation');
end $$;

CREATE FUNCTION sidecar_internal.generation_inputs(relation regclass, columns text[]) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if not exists (select from pg_attribute g where g.attrelid = generation_inputs.relation and g.attname = any (generation_inputs.columns)
                   and g.attgenerated <> '') then
        return '{}';
    end if;
    return (select coalesce(array_agg(distinct i.attname::text), '{}')
        from pg_attribute g
        join pg_attrdef f on f.adrelid = g.attrelid and f.adnum = g.attnum
        join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
                        and d.refclassid = 'pg_class'::regclass and d.refobjid = g.attrelid and d.refobjsubid not in (0, g.attnum)
        join pg_attribute i on i.attrelid = g.attrelid and i.attnum = d.refobjsubid
        where g.attrelid = generation_inputs.relation and g.attname = any (generation_inputs.columns) and g.attgenerated <> '');
end $$;

CREATE FUNCTION sidecar_internal.get_watch(relation regclass, target text) RETURNS sidecar_internal.watches
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    meant sidecar_internal.watches[];
begin
    if get_watch.relation is null then
        raise exception 'no table is named' using errcode = 'invalid_parameter_value', hint = 'Name a watched table: sidecar.status lists them.';
    end if;
    meant := array(select w from sidecar_internal.watches_meant(relation, target) w);
    if cardinality(meant) > 1 then
        raise exception 'table % has % watches', relation, cardinality(meant) using errcode = 'ambiguous_column',
            hint = format('Name the target, one of: %s', sidecar_internal.quoted_list(array(select m.target from unnest(meant) m order by m.target)));
    end if;
    return meant[1];
end $$;

CREATE FUNCTION sidecar_internal.grant_like(relation regclass, made regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    model record;
    grantee oid;
begin
    select c.relowner::regrole as owner, c.relowner <> m.relowner and has_schema_privilege(c.relowner, m.relnamespace, 'create') as moves,
           c.relrowsecurity and m.relkind <> 'v' as hides into model
        from pg_class c, pg_class m where c.oid = relation and m.oid = made;
    if model.hides then
        raise warning 'table % has row-level security, which % does not have: only its owner may read it', relation, made
            using hint = 'Grant SELECT on it yourself, after a policy of its own.';
    else
        for grantee in select a.grantee from pg_class c cross join aclexplode(c.relacl) a
                       where c.oid = relation and a.privilege_type = 'SELECT' and a.grantee <> c.relowner loop
            execute format('grant select on %s to %s', made, case grantee when 0 then 'public' else grantee::regrole::text end);
        end loop;
    end if;
    if model.moves then
        execute format('alter table %s owner to %s', made, model.owner);
    end if;
end $$;

CREATE FUNCTION sidecar_internal.grant_queue(watch_id integer, role regrole) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    queue regclass;
begin
    for queue in select * from sidecar_internal.queue_of(watch_id) loop
        execute format('grant select, insert, update, delete on %s to %s', queue, role);
    end loop;
    if to_regclass(format('sidecar_internal.asleep_%s', watch_id)) is not null then
        execute format('grant usage, select, update on sequence sidecar_internal.asleep_%s to %s', watch_id, role);
    end if;
end $$;

CREATE FUNCTION sidecar_internal.grant_schema(role regrole, kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    routine record;
    views text;
begin
    select string_agg(c.oid::regclass::text, ', ') into views
        from pg_class c where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'v';
    execute format('grant usage on schema sidecar, sidecar_internal to %s', role);
    execute format('grant select on %s, sidecar_internal.watches, sidecar_internal.progress, sidecar_internal.sidecars, '
                   'sidecar_internal.index_failures, sidecar_internal.query_servers, sidecar_internal.recalls, sidecar_internal.labels to %s', views, role);
    if kind = 'worker' then
        execute format('grant select on all tables in schema sidecar, sidecar_internal to %s', role);
        -- Without the columns that our functions build statements from.
        execute format('grant update (%s) on sidecar_internal.watches to %s', (
            select string_agg(quote_ident(a.attname), ', ') from pg_attribute a
                where a.attrelid = 'sidecar_internal.watches'::regclass
                  and a.attname in ('model', 'fingerprint', 'encoder', 'truncated_gen', 'paused', 'broken', 'rows_per_s')), role);
        execute format('grant insert, update, delete on sidecar_internal.scans, sidecar_internal.failures, sidecar_internal.wake, '
                       'sidecar_internal.sidecars, sidecar_internal.progress, sidecar_internal.index_failures, '
                       'sidecar_internal.query_servers, sidecar_internal.query_vectors, sidecar_internal.recalls, sidecar_internal.labels to %s', role);
        execute format('grant usage, select, update on sequence sidecar_internal.generation, sidecar_internal.notified to %s', role);
    end if;
    for routine in select p.oid::regprocedure as name from pg_proc p
                   where p.pronamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
                     and sidecar_internal.may_call(grant_schema.kind, p.oid) loop
        execute format('grant execute on routine %s to %s', routine.name, role);
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.grant_schemas(w sidecar_internal.watches, role regrole) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    schema name;
begin
    for schema in select n.nspname from pg_namespace n
                  where (n.nspname = sidecar_internal.vector_schema()
                         or n.oid in (select c.relnamespace from pg_class c where c.oid in (w.relation, w.companion)))
                    and not has_schema_privilege(grant_schemas.role::oid, n.oid, 'usage')
                    and has_schema_privilege(n.oid, 'usage with grant option') loop
        execute format('grant usage on schema %I to %s', schema, role);
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.grant_table(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    worker regrole;
    is_owner constant boolean := (select pg_has_role(c.relowner, 'usage') from pg_class c where c.oid = w.relation);
    readable constant text := (sidecar_internal.columns_of(w)).readable;
    denied text;
begin
    if is_owner and not has_any_column_privilege(sidecar_internal.installer()::oid, w.relation, 'select') then
        perform sidecar_internal.grant_schemas(w, sidecar_internal.installer());
        execute format('grant select (%s) on %s to %s', (sidecar_internal.columns_of(w)).keys, w.relation, sidecar_internal.installer());
    end if;
    for worker in select r.role from sidecar_internal.roles() r where r.kind = 'worker' loop
        if is_owner and concat(sidecar_internal.denial_of(w, pg_get_userbyid(worker)), sidecar_internal.unreadable_columns(w, pg_get_userbyid(worker))) <> '' then
            perform sidecar_internal.grant_schemas(w, worker);
            execute format('grant select (%s) on %s to %s', readable, w.relation, worker);
            if w.companion is null then
                execute format('grant update (%I) on %s to %s', w.target, w.relation, worker);
            else
                execute format('grant select, insert, update, delete on %s to %s', w.companion, worker);
            end if;
        end if;
        denied := sidecar_internal.denial_of(w, pg_get_userbyid(worker));
        if denied is not null then
            raise warning 'the sidecar cannot work on % yet: %', w.relation, denied
                using hint = 'Let the owner, or a superuser, run the statement.';
        end if;
        denied := sidecar_internal.unreadable_columns(w, pg_get_userbyid(worker));
        if denied is not null then
            raise warning 'searches of % cannot show % yet', w.relation, denied
                using hint = format('Let the owner, or a superuser, run: grant select (%s) on %s to %s', denied, w.relation, worker);
        end if;
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.graph_bytes(w sidecar_internal.watches, rows bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case w.index_method when 'hnsw' then v.bytes * rows + 720 * rows
                               when 'ivfflat' then (greatest(50 * l.lists, 10000) * (v.bytes + 4 * l.lists) + 2 * v.bytes * l.lists + 4 * l.lists * l.lists)::bigint end
        from (select case w.index_kind when 'halfvec' then 2 when 'vector' then 4 end::bigint * w.dimensions as bytes) v
        cross join (select coalesce((select sidecar_internal.read_number(substr(o.option, 7))::bigint from unnest(w.index_options) o(option) where o.option like 'lists=%' limit 1),
                                    sidecar_internal.ivfflat_lists(rows)) as lists) l;
$$;

CREATE FUNCTION sidecar_internal.has_long_queue(w sidecar_internal.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with queue as (
        select q, pg_relation_size(q) as bytes
        from unnest(array[format('sidecar_internal.events_%s', w.id), format('sidecar_internal.delayed_%s', w.id)]) u(name), to_regclass(u.name) q
        where q is not null
    )
    select coalesce(sum(bytes) > 64 * 1024 * 1024
                    or sum(bytes) > 1024 * 1024 and sum((select c.n from sidecar_internal.count_rows(q, false) c where bytes > 0)) > 0, false)
    from queue;
$$;

CREATE FUNCTION sidecar_internal.has_old_triggers(w sidecar_internal.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select exists (select from sidecar_internal.triggers_of(w) t
                   where not t.compares_safely or (t.name ~ '_(insert|delete)$' and not t.for_row))
        or exists (select from pg_trigger t where t.tgrelid = w.companion and t.tgname = format('sidecar_%s_row_deleted', w.id)
                   and t.tgtype & 1 = 0)
        or (w.companion is not null and not sidecar_internal.sees_truncate(w));
$_$;

CREATE FUNCTION sidecar_internal.has_view(w sidecar_internal.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_rewrite r
                   join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
                   where r.ev_class = w.companion_view and d.refobjid in (w.relation, w.companion)
                   having count(distinct d.refobjid) = 2);
$$;

CREATE FUNCTION sidecar_internal.health_of(state text, index text, pending bigint, failed bigint) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case
        when state ~ '^(broken|denied|waiting for a sidecar)' then 'problem'
        when state = 'no sidecar is running' then case when pending > 0 then 'problem' else 'warning' end
        when state = 'paused' or failed > 0 or index ~ '^(building failed|invalid)' then 'warning'
        when state <> 'up to date' or index ~ '^building' then 'working'
        else 'ok' end;
$$;

CREATE FUNCTION sidecar_internal.highest_generation(queue text) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    highest bigint;
begin
    if to_regclass(queue) is not null then
        execute format('select max(q.gen) from %s q', to_regclass(queue)) into highest;
    end if;
    return highest;
end $$;

CREATE FUNCTION sidecar_internal.holds_build_lock(watch_id integer) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_locks l where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
                   and l.database = (select d.oid from pg_database d where d.datname = current_database())
                   and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('sidecar.index.' || watch_id, 0));
$$;

CREATE FUNCTION sidecar_internal.horizon_floor(front bigint[]) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select least(front[1], min(front[i + 1]) filter (where pg_visible_in_snapshot(front[i]::text::xid8, pg_current_snapshot())))
        from generate_series(2, cardinality(front) - 1, 2) i;
$$;

CREATE FUNCTION sidecar_internal.hybrid_exposed(relation regclass, target text, query_vector real[], query_text text, document text[], config text, k integer, filter jsonb, shown_columns text[], shown_document text[], candidates integer, rrf_constant integer, vector_weight double precision, text_weight double precision) RETURNS TABLE(key json, distance double precision, shown json, document_text text, score double precision, vector_rank bigint, text_rank bigint)
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    proposed constant integer := coalesce(candidates, greatest(4 * k, 100));
    configuration regconfig;
begin
    begin
        select c.oid into configuration from pg_ts_config c where c.oid = config::regconfig;  -- which also reads numbers, of whatever
    exception when others then
        configuration := null;
    end;
    if configuration is null then
        raise exception 'there is no text search configuration %', quote_literal(config) using errcode = 'invalid_parameter_value', column = 'hybrid.config',
            hint = 'For example english, german or simple; one of your own with its schema. psql lists them: \dF';
    end if;
    -- As in search_exposed, but strict_order: the places by distance are counted in the order of the index.
    perform sidecar_internal.prepare_scan(w, true, proposed, 20 * proposed::bigint);
    return query execute sidecar_internal.hybrid_exposed_statement(w, sidecar_internal.hybrid_ranking(
            w, sidecar_internal.exposed_document(w, document, configuration),
            sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_columns(w))), shown_columns, shown_document)
        using query_vector, sidecar_internal.word_query(configuration, query_text), proposed, rrf_constant, vector_weight, text_weight, k;
end $$;

CREATE FUNCTION sidecar_internal.hybrid_exposed_statement(w sidecar_internal.watches, ranking text, columns text[], document text[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    row_key constant text[] := sidecar_internal.exact_keys(w, w.relation, 't');
    companion constant text := case when w.companion is null then '' else format(' left join %s h on %s', w.companion, sidecar_internal.for_each_key(
        sidecar_internal.exact_keys(w, w.companion, 'h'), row_key, '%3$s = %2$s', ' and ')) end;
    shown constant text := (
        select string_agg(format('(%L, %s)', c.name, sidecar_internal.shown_value(w.relation, c.name, 'n.c' || c.n)), ', ' order by c.n)
        from unnest(columns) with ordinality c(name, n));
begin
    return format('
        with ranked as materialized (%1$s)
        select json_build_object(%2$s), (n.vector::%3$s.vector operator(%3$s.<=>) $1::%3$s.vector)::float8, %4$s, n.document,
               n.score, n.vector_rank, n.text_rank
        from (select %5$s, r.score, r.vector_rank, r.text_rank, sidecar_internal.exactly(null::%6$s, %7$s.%8$I) as vector%9$s, %10$s as document
              from ranked r join %11$s t on %12$s%13$s) n
        order by n.score desc, %14$s',
        ranking, sidecar_internal.key_fields(w, 'n'), ext,
        case when shown is null then '''{}''::json' else format('(select json_object_agg(v.name, v.value) from (values %s) v(name, value))', shown) end,
        sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s as k%1$s'), sidecar_internal.stored_type(w),
        case when w.companion is null then 't' else 'h' end, w.target,
        (select string_agg(format(', %s as c%s', sidecar_internal.found_column(w.relation, 't', c.name), c.n), '' order by c.n) from unnest(columns) with ordinality c(name, n)),
        case when cardinality(document) > 0 then
            format('concat_ws('' '', %s)', (select string_agg(format('t.%I', c), ', ') from unnest(document) c)) else 'null::text' end,
        w.relation, sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s = r.k%1$s', ' and '), companion,
        sidecar_internal.for_each_key(w.key_columns, null, 'n.k%1$s'));
end $_$;

CREATE FUNCTION sidecar_internal.hybrid_ranking(w sidecar_internal.watches, document text, condition text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    keys constant text := sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s');
    key_columns constant text := sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s as k%1$s');
    matching constant text := format('select %1$s, ts_rank_cd(%2$s, $2) as relevance from %3$s t where %2$s @@ $2%4$s
                                      order by relevance desc, %5$s limit $3', key_columns, document, w.relation, condition, keys);
begin
    return format('
        with near as (%1$s),
             matching as (select m.*, rank() over (order by relevance desc) as place from (%2$s) m)
        select %3$s, coalesce($5 / ($4 + near.place), 0) + coalesce($6 / ($4 + matching.place), 0) as score,
               near.place as vector_rank, matching.place as text_rank, near.distance
        from near full join matching using (%3$s) order by score desc, %3$s limit $7', sidecar_internal.nearest_ranking(w, condition), matching, keys);
end $_$;

CREATE FUNCTION sidecar_internal.hybrid_statement(w sidecar_internal.watches, document text, condition text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format('select jsonb_build_object(%s), r.score, r.vector_rank, r.text_rank, r.distance from (%s) r order by r.score desc, %s',
                  sidecar_internal.key_fields(w, 'r'), sidecar_internal.hybrid_ranking(w, document, condition),
                  sidecar_internal.for_each_key(w.key_columns, null, 'r.k%1$s'));
$_$;

CREATE FUNCTION sidecar_internal.index_argument(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select case
        when w.index_kind = 'none' or (w.index_method = 'hnsw' and w.index_options = '{}') then w.index_kind
        when w.index_options = '{}' and w.index_method in ('ivfflat', 'vchordrq', 'diskann')
             and w.index_kind = sidecar_internal.default_index_kind(w.index_method, w.storage) then w.index_method
        else format(case when w.index_kind = w.storage then 'using %s (%I %s_cosine_ops)%s' else 'using %1$s ((%2$I::%3$s(%5$s)) %3$s_cosine_ops)%4$s' end,
                    w.index_method, w.target, w.index_kind,
                    sidecar_internal.index_options(array(select o.option from unnest(w.index_options) o(option) order by o.option)), w.dimensions) end;
$_$;

CREATE FUNCTION sidecar_internal.index_failure_of(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('%s (next try %s)', f.message, case
            when n.s <= 0 then 'now' when n.s < 90 then format('in %s s', n.s) else format('in %s min', n.s / 60) end)
        from sidecar_internal.index_failures f
        cross join lateral (select ceil(extract(epoch from f.next_try_at - statement_timestamp()))::integer as s) n
        where f.watch_id = w.id;
$$;

CREATE FUNCTION sidecar_internal.index_key(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when w.index_kind = w.storage then format('(%I %s)', w.target, v.class)
                when w.index_kind = 'halfvec' then format('((%I::%s.halfvec(%s)) %s)', w.target, v.ext, w.dimensions, v.class) end
        from (select e.ext, coalesce(sidecar_internal.cosine_class(w.index_method, w.index_kind), format('%s.%s_cosine_ops', e.ext, w.index_kind)) as class
              from (select quote_ident(sidecar_internal.vector_schema()) as ext) e) v;
$$;

CREATE FUNCTION sidecar_internal.index_name(w sidecar_internal.watches, vector_table regclass, replaced regclass) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION sidecar_internal.index_of(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select sidecar_internal.index_of(w, sidecar_internal.running_builds()) $$;

CREATE FUNCTION sidecar_internal.index_of(w sidecar_internal.watches, builds jsonb) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION sidecar_internal.index_options(options text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select coalesce(' with (' || string_agg(format(case when v.value ~ E'^(0|[1-9]\\d{0,8})$' then '%I = %s' else '%I = %L' end, v.name, v.value), ', ' order by v.n) || ')', '')
        from (select split_part(o.option, '=', 1) as name, substr(o.option, strpos(o.option, '=') + 1) as value, o.n
              from unnest(options) with ordinality o(option, n)) v;
$_$;

CREATE FUNCTION sidecar_internal.index_statement(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(s.step, E';\n' order by s.number) from sidecar_internal.index_steps(w) with ordinality s(step, number);
$$;

CREATE FUNCTION sidecar_internal.index_steps(w sidecar_internal.watches) RETURNS SETOF text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION sidecar_internal.index_trouble(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select 'building failed: ' || sidecar_internal.index_failure_of(w)
        where w.index_kind <> 'none' and exists (select from sidecar_internal.index_failures f where f.watch_id = w.id)
          and (sidecar_internal.find_index(coalesce(w.companion, w.relation), w.target)).valid is not true;
$$;

CREATE FUNCTION sidecar_internal.inherits(relation regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_inherits i join pg_class p on p.oid = i.inhparent
                   where p.relkind = 'r' and inherits.relation in (i.inhparent, i.inhrelid));
$$;

CREATE FUNCTION sidecar_internal.input_error(value text, type text, OUT message text, OUT sql_error_code text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if current_setting('server_version_num')::integer >= 160000 then
        select e.message, e.sql_error_code into message, sql_error_code from pg_input_error_info(value, type) e;
    else
        select e.message, e.sql_error_code into message, sql_error_code from sidecar_internal.input_error_of_cast(value, type) e;
    end if;
end $$;

CREATE FUNCTION sidecar_internal.input_error_of_cast(value text, type text, OUT message text, OUT sql_error_code text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    execute format('select %L::%s', value, type);
exception when others then
    get stacked diagnostics message = message_text, sql_error_code = returned_sqlstate;
end $$;

CREATE FUNCTION sidecar_internal.install_watch(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    definitions text[] := (sidecar_internal.primary_key_of(w.relation)).definitions;
begin
    perform sidecar_internal.create_queue(w.id, definitions);
    if to_regclass(format('sidecar_internal.ledger_%s', w.id)) is null then
        perform sidecar_internal.create_ledger(w.id, definitions);
    end if;
    perform sidecar_internal.create_trigger_functions(w);
    perform sidecar_internal.own_queue(w.id);
    perform sidecar_internal.grant_queue(w.id, r.role) from sidecar_internal.roles() r where r.kind = 'worker';
    perform sidecar_internal.grant_table(w);
    perform sidecar_internal.drop_foreign_triggers(w);
    perform sidecar_internal.create_triggers(w);
    perform sidecar_internal.sync_companion(w);
    perform sidecar_internal.start_scan(w.id, 'backfill');
    insert into sidecar_internal.progress (watch_id) values (w.id) on conflict do nothing;
    perform pg_notify('sidecar_watches', '');
end $$;

CREATE FUNCTION sidecar_internal.installer() RETURNS regrole
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select n.nspowner::regrole from pg_namespace n where n.nspname = 'sidecar';
$$;

CREATE FUNCTION sidecar_internal.is_answering(server uuid) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select not pg_try_advisory_xact_lock_shared(hashtextextended('sidecar.queries.' || server::text, 0));
$$;

CREATE FUNCTION sidecar_internal.is_denied_to_all(w sidecar_internal.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(bool_and(sidecar_internal.denial_of(w, pg_get_userbyid(r.role)) is not null), false)
        from sidecar_internal.roles() r where r.kind = 'worker';
$$;

CREATE FUNCTION sidecar_internal.is_domain_over(type regtype, wanted regtype) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select b.type = wanted from sidecar_internal.base_type(is_domain_over.type, -1) b;
$$;

CREATE FUNCTION sidecar_internal.is_done(w sidecar_internal.watches, key jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    found_state record := sidecar_internal.state_of_row(w.id, key);
    code constant text := split_part(found_state.reason, ': ', 1);
begin
    if found_state.state = 'failed' then
        raise exception 'row % of % cannot be embedded: %', key, w.relation, coalesce(found_state.reason, 'unknown reason')
            using errcode = 'SC002',
                  hint = concat_ws(' To retry: ', sidecar_internal.advice_on(code),
                                   case when sidecar_internal.retry_helps(code)
                                        then format('select sidecar.retry(%L, %L, key => %L);', w.relation, w.target, key) end);
    end if;
    return coalesce(found_state.state = 'done', false);
end $$;

CREATE FUNCTION sidecar_internal.is_embed_enabled() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_foreign_server s join pg_user_mappings m on m.srvid = s.oid
                   where s.srvname = 'sidecar_embed'
                     and (concat('user=', sidecar_internal.embed_role()) = any (m.umoptions) or concat('dbname=', current_database()) = any (s.srvoptions)));
$$;

CREATE FUNCTION sidecar_internal.is_intact(w sidecar_internal.watches, key_columns text[], key_types text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select (w.key_columns, w.key_types) = (is_intact.key_columns, is_intact.key_types) and sidecar_internal.structure_fault_v2(w) is null
        and w.broken is null and not exists (select from sidecar_internal.breakages b where b.watch_id = w.id) and sidecar_internal.triggers_fit(w);
$$;

CREATE FUNCTION sidecar_internal.is_our_index(w sidecar_internal.watches, name text, method text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select name ~ format(E'_%s_%s(_cc(new|old)\\d*)?$', method, w.id);
$_$;

CREATE FUNCTION sidecar_internal.is_own_uncommitted(row_xmin xid) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    own bigint := pg_current_xact_id_if_assigned()::text::bigint;
    full_xid bigint;
begin
    if own is null then
        return false;
    end if;
    -- xmin is the low half of a 64-bit id; a subtransaction's is a little above its parent's.
    full_xid := (own & ~4294967295::bigint) | row_xmin::text::bigint;
    if full_xid > own + 2147483648 then
        full_xid := full_xid - 4294967296;
    end if;
    return pg_xact_status(full_xid::text::xid8) = 'in progress';
end $$;

CREATE FUNCTION sidecar_internal.is_same_watch(a sidecar_internal.watches, b sidecar_internal.watches) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select (a.kind, a.source, a.dimensions, a.index_kind, a.index_method, a.model, a.companion, a.storage)
        is not distinct from (b.kind, b.source, b.dimensions, b.index_kind, b.index_method, b.model, b.companion, b.storage)
        and a.index_options @> b.index_options and b.index_options @> a.index_options; -- in whatever order
$$;

CREATE FUNCTION sidecar_internal.is_subscribed(relation regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_subscription_rel s where s.srrelid in (
        select t.home from sidecar_internal.tree_of(is_subscribed.relation) t
        union all select a.relid from pg_partition_ancestors(is_subscribed.relation) a));
$$;

CREATE FUNCTION sidecar_internal.is_waiting(watch_id integer, gens bigint[]) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    is_one boolean;
begin
    if gens is null or not exists (select from sidecar_internal.watches x where x.id = watch_id and x.unwatched_at is null) then
        return false;
    end if;
    execute format('select exists (select from sidecar_internal.events_%1$s t where t.gen = any ($1))
                        or exists (select from sidecar_internal.delayed_%1$s t where t.gen = any ($1))', watch_id) into is_one using gens;
    return is_one;
end $_$;

CREATE FUNCTION sidecar_internal.is_worked_on(vector_table regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_locks l where l.locktype = 'relation' and l.relation = is_worked_on.vector_table and l.granted
                   and l.database = (select d.oid from pg_database d where d.datname = current_database())
                   and l.mode = 'ShareUpdateExclusiveLock' and l.pid <> pg_backend_pid());
$$;

CREATE FUNCTION sidecar_internal.ivfflat_lists(rows bigint) RETURNS integer
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select least(greatest(case when rows <= 1000000 then rows / 1000 else sqrt(rows)::bigint end, 10), 32768)::integer;
$$;

CREATE FUNCTION sidecar_internal.keep_recall(w sidecar_internal.watches, k integer, measured jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION sidecar_internal.key_fault(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format(case when k.type is distinct from b.type then 'key column %I has become another type than the one of its name'
                  else 'key column %I has type %s: %s' end, u.c, format_type(b.type, null), sidecar_internal.key_type_fault(b.type))
        from unnest(w.key_columns) with ordinality u(c, i)
        join pg_attribute a on a.attrelid = w.relation and a.attname = u.c
        cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        join (select x.attname, x.atttypid as type from unnest(array['events', 'delayed', 'ledger', 'former']) t
              join pg_attribute x on x.attrelid = to_regclass(format('sidecar_internal.%s_%s', t, w.id))) k on k.attname = format('k%s', u.i)
        where k.type <> b.type or sidecar_internal.key_type_fault(b.type) is not null order by u.i limit 1;
$$;

CREATE FUNCTION sidecar_internal.key_fields(w sidecar_internal.watches, row_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(format(case when a.atttypid < 16384 then '%L, %s.k%s' else '%L, concat(%s.k%s)' end, u.c, row_name, u.i), ', ' order by u.i)
        from unnest(w.key_columns) with ordinality u(c, i)
        left join pg_attribute a on a.attrelid = to_regclass(format('sidecar_internal.events_%s', w.id)) and a.attname = format('k%s', u.i);
$$;

CREATE FUNCTION sidecar_internal.key_type_fault(type oid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case
        when t.typcategory in ('A', 'C') then 'it is made of several values'
        when t.oid < 16384 or t.typtype = 'b' then null
        when exists (select from pg_cast c where c.castsource = t.oid and c.castcontext = 'i')
            then 'its implicit cast makes comparisons of its values ambiguous'
        when t.typtype = 'e' then null
        when t.typtype not in ('r', 'm') then 'it is of a kind that is not known'
        when not exists (select from pg_range r join pg_type s on s.oid = r.rngsubtype
                         where t.oid in (r.rngtypid, r.rngmultitypid) and r.rngcanonical < 16384
                           and (s.typtype = 'e' or (s.typtype = 'b' and s.oid < 16384 and s.typcategory <> 'A')))
            then 'reading it calls functions that a user made'
        end
        from pg_type t where t.oid = key_type_fault.type;
$$;

CREATE FUNCTION sidecar_internal.keys_fit(w sidecar_internal.watches, row_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select sidecar_internal.for_each_key(w.key_columns, null, format(
        '(pg_typeof(%1$s.%%2$I) = pg_typeof((null::sidecar_internal.events_%2$s).k%%1$s) '
        'or sidecar_internal.is_domain_over(pg_typeof(%1$s.%%2$I), pg_typeof((null::sidecar_internal.events_%2$s).k%%1$s)))', row_name, w.id), ' and ');
$_$;

CREATE FUNCTION sidecar_internal.kind_of_column(relation regclass, name text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    source record;
begin
    select b.type, b.printed, t.typcategory into source
        from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b join pg_type t on t.oid = b.type
        where a.attrelid = relation and a.attname = name and a.attnum > 0 and not a.attisdropped;
    if not found then
        raise exception 'table % has no column %', relation, quote_literal(name)
            using errcode = 'undefined_column', hint = sidecar_internal.did_you_mean_column(name, relation)
                                                  || 'Column names are case-sensitive here: give them as \d shows them.';
    elsif source.type = 'bytea'::regtype then
        return 'image';
    elsif source.typcategory = 'S' then
        return 'text';
    end if;
    raise exception 'column %.% has type %, which holds neither text nor pictures', relation, quote_ident(name), source.printed
        using errcode = 'datatype_mismatch',
              hint = 'A source is a text column, or a bytea column that holds picture files. Of other types make a generated '
                     'column: alter table ... add column ... text generated always as (...) stored;';
end $$;

CREATE FUNCTION sidecar_internal.kind_of_source(relation regclass, source text[], kind text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    name text;
    kinds text[] := '{}';
begin
    if kind_of_source.source is null or cardinality(kind_of_source.source) = 0
       or array_position(kind_of_source.source, null) is not null then
        raise exception 'source names no column' using errcode = 'invalid_parameter_value',
            hint = 'Say for example: source => ''photo'', or source => array[''title'', ''brand''].';
    elsif kind_of_source.kind not in ('text', 'image') then
        raise exception 'kind is %, which is not known', quote_literal(kind_of_source.kind)
            using errcode = 'invalid_parameter_value', hint = 'kind is ''text'' or ''image'', or left out.';
    end if;
    foreach name in array kind_of_source.source loop
        kinds := kinds || sidecar_internal.kind_of_column(relation, name);
    end loop;
    if cardinality(kinds) > 1 and 'image' = any (kinds) then
        raise exception 'source % mixes pictures with other columns', kind_of_source.source
            using errcode = 'datatype_mismatch',
                  hint = 'Several source columns are joined as text. Watch each bytea column by itself.';
    elsif kind_of_source.kind <> kinds[1] then
        raise exception 'kind is %, but source % holds %', quote_literal(kind_of_source.kind),
            kind_of_source.source, case kinds[1] when 'image' then 'bytea (pictures)' else 'text' end
            using errcode = 'datatype_mismatch', hint = format('Leave kind out, or say kind => %L.', kinds[1]);
    end if;
    return kinds[1];
end $$;

CREATE FUNCTION sidecar_internal.larger_index_statement(w sidecar_internal.watches, index regclass) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
end $_$;

CREATE FUNCTION sidecar_internal.letter_pairs(name text) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array_agg(distinct substr(' ' || lower(name) || ' ', i, 2)) from generate_series(1, length(name) + 1) i;
$$;

CREATE FUNCTION sidecar_internal.lists_of(w sidecar_internal.watches) RETURNS integer
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    top constant regclass := coalesce(w.companion, w.relation);
    method constant oid := (select am.oid from pg_am am where am.amname = 'ivfflat');
    vector_tables oid[] := array[top];
    vector_table oid;
    lists integer;
begin
    if method is null then
        return null;
    end if;
    if (select c.relkind = 'p' from pg_class c where c.oid = top) then
        vector_tables := array(select t.home from sidecar_internal.tree_of(top) t where t.is_leaf);
    end if;
    -- Table by table, and the rest for IVFFlat indexes only: joins to all of pg_class and pg_depend would take 4 ms.
    foreach vector_table in array vector_tables loop
        lists := greatest(lists, (
            select max(coalesce((select sidecar_internal.read_number(o.option_value) from pg_options_to_table(x.reloptions) o where o.option_name = 'lists'), 100))
                from pg_index i
                cross join lateral (select c.reloptions from pg_class c where c.oid = i.indexrelid and c.relam = method offset 0) x
                where i.indrelid = vector_table and i.indisvalid and exists (
                    select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid and d.refobjid = i.indrelid
                        and d.refobjsubid = (select a.attnum from pg_attribute a where a.attrelid = vector_table and a.attname = w.target))));
    end loop;
    return lists;
end $$;

CREATE FUNCTION sidecar_internal.lock_table(relation regclass, mode text, limits record) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform set_config('lock_timeout', limits.theirs, true);
    execute format('lock table %s in %s mode', relation, mode);
    perform set_config('lock_timeout', limits.ours, true);
end $$;

CREATE FUNCTION sidecar_internal.lost_target_statement(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('alter table %s add column %I %s(%s)', w.companion, w.target, sidecar_internal.stored_type(w), w.dimensions);
$$;

CREATE FUNCTION sidecar_internal.mark_asleep(asleep integer[], for_s double precision, awake integer[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '10ms'
    AS $$
declare
    until_ms constant bigint := extract(epoch from clock_timestamp() + make_interval(secs => for_s)) * 1000;
    mark record;
begin
    for mark in select u.id, until_ms as value from unnest(asleep) u(id) union all select u.id, 1 from unnest(awake) u(id) loop
        begin
            perform setval(to_regclass('sidecar_internal.asleep_' || mark.id), mark.value);
        exception when lock_not_available or undefined_table then
            null; -- Its changes are found by polling.
        end;
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.may_call(kind text, function oid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select p.proname in ('backlog', 'status_of', 'status_exact', 'wait_embedded', 'wait_one_embedded', 'check_row_exists', 'events_of_key',
                         'is_waiting', 'is_done', 'state_of_row', 'state_of_watch', 'sample_source', 'embed', 'embed_content',
                         'request_vector', 'read_answer', 'embed_in_statement', 'embed_connection_fault', 'recall', 'sample_vectors',
                         'nearest_distances', 'keep_recall')
        or (p.proname = 'follow_changes' and may_call.kind = 'worker')
        or (not p.prosecdef and p.prorettype <> 'trigger'::regtype and (may_call.kind = 'worker' or p.provolatile <> 'v'))
        from pg_proc p where p.oid = may_call.function;
$$;

CREATE FUNCTION sidecar_internal.may_count(relation regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select has_schema_privilege(c.relnamespace, 'usage') and has_any_column_privilege(c.oid, 'select') and not row_security_active(c.oid)
        from pg_class c where c.oid = relation;
$$;

CREATE FUNCTION sidecar_internal.measured_index(w sidecar_internal.watches, OUT id oid, OUT file oid) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select f.index::oid, pg_relation_filenode(f.index) from sidecar_internal.find_index(coalesce(w.companion, w.relation), w.target) f where f.valid;
$$;

CREATE FUNCTION sidecar_internal.move_page(watch_id integer, max_rows integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET row_security TO 'off'
    AS $_$
declare
    w sidecar_internal.watches;
    looked_at bigint := 0;
    first_place tid;
    last_place tid;
    is_left boolean;
    to_row boolean;
    former_type text;
    stored text;
begin
    select * into w from sidecar_internal.watches x where x.id = watch_id and x.unwatched_at is null for share;
    to_row := w.companion is null;
    former_type := format('%I.%I', sidecar_internal.vector_schema(), sidecar_internal.storage_of(w.moved_from, w.target));
    stored := sidecar_internal.stored_type(w);
    first_place := coalesce((select s.last_key[1]::tid from sidecar_internal.scans s where s.watch_id = w.id and s.purpose = 'move'), '(0,0)');
    perform set_config('sidecar.writer', 'on', true);
    -- Nothing is copied if the watch wants another model by now, or the former table of the vectors is gone.
    if to_regclass(format('sidecar_internal.former_%s', w.id)) is not null
            and sidecar_internal.storage_of(w.moved_from, w.target) is not null
            and w.fingerprint = w.moved_fingerprint then
        execute format($sql$
            with page as (
                delete from sidecar_internal.former_%1$s f
                where f.ctid = any (array(select x.ctid from sidecar_internal.former_%1$s x where x.ctid > $2 limit $1)) returning f.ctid as place, f.*
            ), found as materialized (
                select p.*, sidecar_internal.exactly(null::%7$s, h.%2$I)::%11$s as vector from page p join %3$s t on %5$s join %4$s h on %6$s
                where sha256(%7$s_send(sidecar_internal.exactly(null::%7$s, h.%2$I))) = p.vector_digest %8$s
            ), recorded as (
                insert into sidecar_internal.ledger_%1$s (%9$s, gen, content_hash, vector_digest, truncated, unreadable, embedded_at)
                select %9$s, gen, content_hash, %12$s, truncated, unreadable, embedded_at from found order by %9$s
                on conflict (%9$s) do nothing returning %9$s
            ), written as (%10$s)
            select count(*), max(place) from page
        $sql$, w.id, w.target, w.relation, w.moved_from, sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = p.k%1$s', ' and '),
            sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.moved_from, 'h'), '%3$s = p.k%1$s', ' and '), former_type,
            case when to_row then 'for no key update of t skip locked' else '' end, sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'),
            case when to_row then
                format('update %s t set %2$I = sidecar_internal.exactly(t.%2$I, f.vector) from found f join recorded r using (%3$s) where %4$s', w.relation, w.target,
                       sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'), sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = f.k%1$s', ' and '))
            else
                format('insert into %1$s (%2$s, %3$I) select %5$s, sidecar_internal.exactly((null::%1$s).%3$I, f.vector) from found f '
                       'join recorded r using (%4$s) on conflict (%2$s) do update set %3$I = excluded.%3$I', w.companion,
                       sidecar_internal.for_each_key(w.key_columns, null, '%2$I'), w.target, sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'),
                       sidecar_internal.companion_values(w, 'f'))
            end, stored, case when stored = former_type then 'vector_digest' else format('sha256(%s_send(vector))', stored) end) into looked_at, last_place
            using max_rows, first_place;
        -- Remembers where the page ended: from the start, each page would step over all rows that earlier pages deleted.
        update sidecar_internal.scans s set last_key = array[last_place::text]
            where s.watch_id = w.id and s.purpose = 'move' and last_place is not null;
        -- In a restored database the entries lie elsewhere, and some before that place.
        if looked_at < max_rows and first_place > '(0,0)' then
            execute format('select exists (select from sidecar_internal.former_%s)', w.id) into is_left;
            if is_left then
                update sidecar_internal.scans s set last_key = null where s.watch_id = w.id and s.purpose = 'move';
                return max_rows;
            end if;
        end if;
    end if;
    return looked_at;
end $_$;

CREATE FUNCTION sidecar_internal.nearest_distances(w sidecar_internal.watches, through_index boolean, condition text, query_vector text, k integer) RETURNS double precision[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
end $_$;

CREATE FUNCTION sidecar_internal.nearest_ranking(w sidecar_internal.watches, condition text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    tables constant text := w.relation || ' t'
        || case when w.companion is null then '' else format(' join %s e on %s', w.companion, sidecar_internal.for_each_key(
               sidecar_internal.exact_keys(w, w.companion, 'e'), sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and ')) end;
    vector constant text := format('sidecar_internal.exactly(null::%s, %s.%I)', sidecar_internal.stored_type(w), case when w.companion is null then 't' else 'e' end, w.target);
    compared constant record := sidecar_internal.compared_type(w);
    type constant text := format('%s.%s(%s)', ext, compared.name, w.dimensions);
    distance constant text := format('%s%s operator(%s.<=>) $1::%s', vector,
                                     case when compared.is_cast then '::' || type else '' end, ext, type);
begin
    return format('select n.*, rank() over (order by distance + 0) as place
                   from (select %s, %s as distance from %s where %s is not null and $1 is not null%s
                         order by distance fetch first ($3) rows with ties) n',
        sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s as k%1$s'), distance, tables, vector, condition);
end $_$;

CREATE FUNCTION sidecar_internal.notify_sleepers() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    now_ms constant bigint := extract(epoch from clock_timestamp()) * 1000;
begin
    if abs(now_ms - coalesce(pg_sequence_last_value('sidecar_internal.notified'), 0)) >= 5
            and current_setting('max_prepared_transactions') = '0' and pg_notification_queue_usage() < 0.5 then
        perform setval('sidecar_internal.notified', now_ms);
        perform pg_notify('sidecar', '');
    end if;
end $$;

CREATE FUNCTION sidecar_internal.numbered_key(w sidecar_internal.watches, key jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select jsonb_object_agg('k' || i, numbered_key.key->w.key_columns[i]) from generate_subscripts(w.key_columns, 1) i;
$$;

CREATE FUNCTION sidecar_internal.options_to_build(w sidecar_internal.watches, vector_table regclass) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if w.index_method = 'ivfflat' and not exists (select from unnest(w.index_options) o(option) where o.option like 'lists=%') then
        w.index_options := w.index_options || format('lists=%s', sidecar_internal.ivfflat_lists((sidecar_internal.count_rows(vector_table, false)).n));
    end if;
    return sidecar_internal.index_options(w.index_options);
end $$;

CREATE FUNCTION sidecar_internal.own_addresses() RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('host=%s port=%s', a.host, current_setting('port'))
    from (values (1, (select nullif(trim(split_part(s.setting, ',', 1)), '') from pg_settings s where s.name = 'unix_socket_directories')),
                 (2, 'localhost'), (3, host(inet_server_addr()))) a(n, host)
    where a.host is not null and a.host !~ '\s' order by a.n;
$$;

CREATE FUNCTION sidecar_internal.own_queue(watch_id integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    installer regrole := sidecar_internal.installer();
    made record;
begin
    for made in select format('table %s', c.oid::regclass) as name from pg_class c
                where c.oid in (select sidecar_internal.queue_of(watch_id)) and c.relowner <> installer
                union all
                select format('function %s', p.oid::regprocedure) from pg_proc p
                where p.pronamespace = 'sidecar_internal'::regnamespace and p.proowner <> installer
                  and p.proname ~ format('^enqueue_%s_[a-z]+$', watch_id) loop
        execute format('alter %s owner to %s', made.name, installer);
    end loop;
end $_$;

CREATE FUNCTION sidecar_internal.partition_lacks_trigger(w sidecar_internal.watches) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if not exists (select from pg_class c where c.oid in (w.relation, w.companion) and c.relkind = 'p') then
        return false;
    end if;
    return exists (
        select from sidecar_internal.triggers_of(w) t
        join pg_trigger root on root.tgrelid = t.relation and root.tgname = t.name
        cross join lateral sidecar_internal.tree_of(t.relation) p
        -- By index, partition by partition: a join would read the triggers of all tables.
        left join lateral (select c.tgenabled from pg_trigger c where c.tgrelid = p.home and c.tgname = t.name offset 0) copy on true
        where t.for_row and p.level > 0 and copy.tgenabled is distinct from root.tgenabled);
end $$;

CREATE FUNCTION sidecar_internal.pending_of(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format('(select %1$s from sidecar_internal.events_%2$s union all select %1$s from sidecar_internal.delayed_%2$s) e',
                  sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'), w.id);
$_$;

CREATE FUNCTION sidecar_internal.pgvector_fault() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    remedy text;
begin
    perform sidecar_internal.vector_schema();
    return null;
exception when undefined_object or feature_not_supported then
    get stacked diagnostics remedy = pg_exception_hint;
    return sqlerrm || '. ' || remedy;
end $$;

CREATE FUNCTION sidecar_internal.picture_of(relation regclass, target text, key jsonb, filter jsonb, only_failed boolean, max_bytes bigint) RETURNS TABLE(version text, bytes bigint, picture bytea)
    LANGUAGE plpgsql STABLE ROWS 1
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    row_key constant text[] := sidecar_internal.exact_keys(w, w.relation, 't');
    picture constant text := (
        select sidecar_internal.found_column(w.relation, 't', w.source[1]) from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        where a.attrelid = w.relation and a.attname = w.source[1] and a.attnum > 0 and not a.attisdropped and b.type = 'bytea'::regtype);
begin
    if w.kind <> 'image' or picture is null or (only_failed and not exists (
        select from sidecar_internal.failures d where d.watch_id = w.id and d.key = sidecar_internal.failure_key(sidecar_internal.canonical_key(w, picture_of.key)))) then
        return;
    end if;
    return query execute format('select f.version, octet_length(f.picture)::bigint, case when octet_length(f.picture) <= $2 then f.picture end
                                 from (select concat_ws('':'', t.tableoid, t.ctid, t.xmin) as version, (%s)::bytea as picture from %s join %s t on %s%s) f',
        picture, sidecar_internal.typed_key(w, '$1'), w.relation,
        sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s = r.k%1$s', ' and '),
        sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_columns(w)))
        using sidecar_internal.numbered_key(w, key), max_bytes;
end $_$;

CREATE FUNCTION sidecar_internal.prepare_embed_role() RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    role constant name := sidecar_internal.embed_role();
    password constant text := replace(concat(gen_random_uuid(), gen_random_uuid()), '-', '');
    routine regprocedure;
    setting text;
begin
    if not pg_has_role(sidecar_internal.installer()::oid, 'usage') then
        raise exception 'only the owner of schema sidecar can enable sidecar.embed' using errcode = 'insufficient_privilege',
            hint = format('Connect as %s, or as a superuser.', sidecar_internal.installer());
    end if;
    if sidecar_internal.dblink_schema() is null then
        execute format('create extension dblink schema %I', sidecar_internal.vector_schema());
    end if;
    -- A role that is new has no attribute that it should not have, and only a superuser may alter these.
    execute format('%s role %I login password %L',
                   case when exists (select from pg_roles r where r.rolname = role) then 'alter' else 'create' end, role, password);
    foreach setting in array array['search_path = pg_catalog, pg_temp', 'default_transaction_isolation = ''read committed''',
                                   'default_transaction_read_only = off', 'statement_timeout = 0', 'lock_timeout = 0'] loop
        execute format('alter role %I in database %I set %s', role, current_database(), setting);
    end loop;
    execute format('grant connect on database %I to %I', current_database(), role);
    execute format('grant usage on schema sidecar_internal to %I', role);
    for routine in select p.oid from pg_proc p where p.pronamespace = 'sidecar_internal'::regnamespace
                   and p.proname in ('embed_content', 'request_vector', 'read_answer') loop
        execute format('grant execute on routine %s to %I', routine, role);
    end loop;
    return password;
end $$;

CREATE FUNCTION sidecar_internal.prepare_ledger(former sidecar_internal.watches, saved sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    has_vectors boolean;
begin
    if to_regclass(format('sidecar_internal.ledger_%s', saved.id)) is null then
        return;
    elsif saved.fingerprint is null then -- unwatched after a reembed, before the old vectors were cleared
        execute format('select exists (select from sidecar_internal.ledger_%s l where l.vector_digest is not null)', saved.id) into has_vectors;
        execute format('drop table sidecar_internal.ledger_%s', saved.id);
        if has_vectors then
            perform sidecar_internal.start_scan(saved.id, 'clear');
        end if;
        return;
    elsif former.companion is not distinct from saved.companion then
        return;
    end if;
    perform sidecar_internal.start_move(former, saved);
    raise notice 'the vectors of % are moving from % to %: sidecar.status shows the progress', saved.relation,
            coalesce(former.companion, former.relation), coalesce(saved.companion, saved.relation)
        using hint = 'Search the new place from now on. When all have moved, and not before, drop the former one: '
            || case when former.companion is null then format('alter table %s drop column %I;', former.relation, former.target)
               else format('drop table %s;', former.companion) end;
end $$;

CREATE FUNCTION sidecar_internal.prepare_scan(w sidecar_internal.watches, is_strict boolean, ef_search bigint DEFAULT NULL::bigint, max_scan_tuples bigint DEFAULT NULL::bigint) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    lists constant integer := sidecar_internal.lists_of(w);
    wanted jsonb := jsonb_build_object('hnsw.iterative_scan', case when is_strict then 'strict_order' else 'relaxed_order' end);
    former jsonb;
begin
    if ef_search is not null then
        wanted := wanted || jsonb_build_object(
            'hnsw.ef_search', least(greatest(ef_search, 100, sidecar_internal.read_number(sidecar_internal.session_setting('hnsw.ef_search'))), 1000),
            'hnsw.max_scan_tuples', least(greatest(max_scan_tuples, 20000), 2147483647));
    end if;
    if lists is not null then
        wanted := wanted || jsonb_build_object('ivfflat.iterative_scan', 'relaxed_order', 'ivfflat.probes',
            greatest(ceil(sqrt(lists))::integer, sidecar_internal.read_number(sidecar_internal.session_setting('ivfflat.probes'))));
    end if;
    select coalesce(jsonb_object_agg(s.key, sidecar_internal.session_setting(s.key)), '{}') into former from jsonb_each_text(wanted) s;
    perform sidecar_internal.apply_settings(wanted);
    return former;
end $$;

CREATE FUNCTION sidecar_internal.present_columns(w sidecar_internal.watches) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array(select e.name from unnest(w.expose) with ordinality e(name, n)
                 where exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = e.name
                               and a.attnum > 0 and not a.attisdropped) order by e.n);
$$;

CREATE FUNCTION sidecar_internal.primary_key_of(relation regclass, OUT columns text[], OUT types text[], OUT definitions text[]) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET quote_all_identifiers TO 'off'
    AS $$
begin
    select array_agg(a.attname::text order by k.position), array_agg(b.printed order by k.position),
           array_agg(b.printed || case when a.attcollation <> 0 and a.attcollation <> t.typcollation
                     then format(' collate %I.%I', cn.nspname, co.collname) else '' end order by k.position)
        into columns, types, definitions
        from pg_constraint c
        cross join unnest(c.conkey) with ordinality as k(attnum, position)
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
        cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        join pg_type t on t.oid = b.type
        left join pg_collation co on co.oid = a.attcollation
        left join pg_namespace cn on cn.oid = co.collnamespace
        where c.conrelid = relation and c.contype = 'p';
    if columns is null then
        raise exception 'table % has no primary key', relation
            using errcode = 'invalid_table_definition',
                  hint = format('The sidecar tells rows apart by their primary key. Add one, for example: '
                                'alter table %s add column id bigint generated always as identity primary key;', relation);
    end if;
end $$;

CREATE FUNCTION sidecar_internal.query_model(named text, relation regclass, column_name text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar_internal.watches;
    models integer;
begin
    if named is null then
        -- A watch without vectors takes the model of another one, if it may.
        select count(distinct (x.fingerprint, case when x.fingerprint is null then x.model end, x.dimensions)) into models
            from sidecar_internal.watches x
            where x.unwatched_at is null and (x.fingerprint is not null or not exists (
                select from sidecar_internal.watches f
                where f.unwatched_at is null and f.fingerprint is not null and f.dimensions = x.dimensions
                  and (x.model is null or x.model in (f.model, f.fingerprint))));
        if models <> 1 then
            raise exception '%', case models when 0 then 'nothing is watched, so there is no model to embed with'
                                 else format('the watches of this database have %s models', models) end
                using errcode = 'invalid_parameter_value', hint = 'Name a watch: target => ''table.column''. sidecar.status lists them.';
        end if;
        select * into w from sidecar_internal.watches x where x.unwatched_at is null order by x.fingerprint is null, x.id limit 1;
    elsif query_model.relation is null then
        raise exception 'there is no table %', named using errcode = 'undefined_table',
            hint = 'Write target => ''table.column'', with the schema if it is not in search_path. sidecar.status lists the watches.';
    else
        w := sidecar_internal.get_watch(query_model.relation, query_model.column_name);
    end if;
    return sidecar_internal.query_model_of(w);
end $$;

CREATE FUNCTION sidecar_internal.query_model_of(w sidecar_internal.watches) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    fingerprint text := w.fingerprint;
begin
    if fingerprint is null and not pg_is_in_recovery() then -- a standby has no unlogged tables
        select s.fingerprint into fingerprint from sidecar_internal.query_servers s
            where s.dimensions = w.dimensions and (w.model is null or w.model in (s.model, s.fingerprint))
            order by s.seen_at desc limit 1;
    end if;
    if fingerprint is null then
        raise exception 'no sidecar that fits %.% is connected to this database', w.relation, quote_ident(w.target) using errcode = 'SC003',
            hint = format('Start `sidecar serve` with %s.', coalesce(w.model, format('a model of %s dimensions', w.dimensions)));
    end if;
    return fingerprint;
end $$;

CREATE FUNCTION sidecar_internal.queue_of(watch_id integer) RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select c.oid::regclass from pg_class c
        where c.relnamespace = 'sidecar_internal'::regnamespace and c.relkind = 'r'
          and c.relname ~ format('^(events|delayed|ledger|former)_%s$', watch_id);
$_$;

CREATE FUNCTION sidecar_internal.quoted_list(names text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(quote_literal(n.name), ', ' order by n.i) from unnest(names) with ordinality n(name, i);
$$;

CREATE FUNCTION sidecar_internal.quoted_name(parts text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(quote_ident(p.name), '.' order by p.n) from unnest(parts) with ordinality p(name, n);
$$;

CREATE FUNCTION sidecar_internal.raise_filter_fault(path text, complaint text, sqlstate text, hint text DEFAULT ''::text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception '%: %', path, complaint using errcode = raise_filter_fault.sqlstate, column = path, hint = raise_filter_fault.hint;
end $$;

CREATE FUNCTION sidecar_internal.raise_generation() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w record;
    used bigint := 0;
    found_gen bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('sidecar.raise_generation', 0));
    for w in select x.id, greatest(x.truncated_gen, p.drawn) as least_used, to_regclass(format('sidecar_internal.ledger_%s', x.id)) as ledger,
                    coalesce(p.drawn_at = p.updated_at and p.drawn <= pg_sequence_last_value('sidecar_internal.generation'), false) as is_ahead
             from sidecar_internal.watches x left join sidecar_internal.progress p on p.watch_id = x.id loop
        used := greatest(used, w.least_used);
        for found_gen in select sidecar_internal.highest_generation(format('sidecar_internal.%s_%s', t, w.id))
                         from unnest(array['events', 'delayed'] || case
                             when w.is_ahead and pg_relation_size(w.ledger) > 16 * 1024 * 1024 then '{}' else array['ledger'] end) t loop
            used := greatest(used, found_gen);
        end loop;
    end loop;
    -- With a margin, because other sessions draw from the sequence before setval.
    perform setval('sidecar_internal.generation', used + 100000)
        from sidecar_internal.generation s where used > case when s.is_called then s.last_value else s.last_value - 1 end;
    if found then
        perform sidecar_internal.renumber_events(x.id) from sidecar_internal.watches x where x.unwatched_at is null;
    end if;
    return used;
end $$;

CREATE FUNCTION sidecar_internal.raise_in_use(relation regclass, companion regclass, watch_id integer, own_timeout text, began timestamp with time zone) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    held record;
begin
    select l.relation::regclass as name,
           string_agg(distinct coalesce(format('process %s (%s)', l.pid, concat_ws(', ', nullif(a.application_name, ''), a.state,
               'its transaction began at ' || date_trunc('second', a.xact_start)::text)), 'a prepared transaction'), '; ') as holders
        into held
        from pg_locks l left join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'relation' and l.granted and l.pid is distinct from pg_backend_pid()
          and (a.pid is null or a.state is null or a.xact_start <= began) -- prepared, hidden from us, or open since before the first try
          and l.database = (select d.oid from pg_database d where d.datname = current_database())
          and (l.relation in (raise_in_use.relation, raise_in_use.companion)
               or l.relation in (select x.companion_view from sidecar_internal.watches x where x.id = raise_in_use.watch_id)
               or l.relation in (select c.oid from pg_class c where c.relnamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace) and c.relkind in ('r', 'v', 'S')
                   and (raise_in_use.watch_id is null or c.relname ~ format('^(events|delayed|ledger|former|asleep)_%s$', raise_in_use.watch_id))))
        group by l.relation
        order by case when not coalesce(l.relation in (raise_in_use.relation, raise_in_use.companion), false) then 1
                      when bool_or(l.mode not in ('AccessShareLock', 'RowShareLock')) then 0 else 2 end, l.relation
        limit 1;
    raise exception 'table % is in use: it could not be locked within %', coalesce(held.name, relation),
            case own_timeout when '0' then '10s' else own_timeout end
        using errcode = 'lock_not_available',
              hint = coalesce(held.holders || ' holds it. ', 'A transaction that uses it is still open. ')
                  || 'Nothing was changed; try again when it is over, or end it: select pg_terminate_backend(...).';
end $_$;

CREATE FUNCTION sidecar_internal.read_answer(id bigint, fingerprint text, began timestamp with time zone, deadline timestamp with time zone, OUT vector real[], OUT is_gone boolean, OUT pause_s double precision) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    waited_s constant double precision := extract(epoch from clock_timestamp() - began);
    request sidecar_internal.query_vectors;
begin
    select * into request from sidecar_internal.query_vectors q where q.id = read_answer.id;
    is_gone := request.id is null;
    vector := request.vector;
    pause_s := least(greatest(0.001, waited_s / 10), 0.05);
    if is_gone or vector is not null then
        return;
    elsif request.error is not null then
        raise exception '%', request.error using errcode = request.sqlstate;
    elsif clock_timestamp() >= deadline then
        raise exception 'no vector within % ms', round(waited_s * 1000) using errcode = 'SC001',
            hint = case when request.taken_by is null then 'No sidecar has taken the request: are all of them stopped or stuck?'
                        else 'The sidecar is still at it: give it more time with timeout_ms, or see its queue in /metrics.' end;
    elsif request.taken_by is not null and not sidecar_internal.is_answering(request.taken_by) then
        perform sidecar_internal.check_query_server(fingerprint);
        update sidecar_internal.query_vectors q set taken_by = null where q.id = request.id and q.taken_by = request.taken_by and q.content is not null;
        perform pg_notify('sidecar_queries', id::text);
    elsif request.taken_by is null and waited_s > 0.1 then
        perform sidecar_internal.check_query_server(fingerprint);
    end if;
end $$;

CREATE FUNCTION sidecar_internal.read_horizon(OUT drawn bigint, OUT next_xid text, OUT in_flight text[]) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    next_low bigint;
    seen pg_snapshot;
    listed_below bigint;
    unlisted bigint;
begin
    select case when s.is_called then s.last_value else s.last_value - 1 end into drawn from sidecar_internal.generation s;
    next_low := age('3'::xid) + 3::bigint;
    seen := pg_current_snapshot();
    listed_below := pg_snapshot_xmax(seen)::text::bigint;
    -- 32-bit ids, modulo 2^32; the snapshot may be newer than next_low.
    unlisted := greatest((next_low - listed_below + 2147483648) & 4294967295, 2147483648) - 2147483648;
    next_xid := (listed_below + unlisted)::text;
    if unlisted > 2000 then
        drawn := 0;
        in_flight := '{}';
    else
        in_flight := array(select x::text from pg_snapshot_xip(seen) x
                           union all select (listed_below + i)::text from generate_series(0, unlisted - 1) i);
    end if;
end $$;

CREATE FUNCTION sidecar_internal.read_index_options(options text) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select case when options ~ format(E'^\\s*%1$s(\\s*,\\s*%1$s)*\\s*$', o.one) then array(
            select lower(m.parts[1]) || '=' || case when m.parts[2] like '''%' then replace(substr(m.parts[2], 2, length(m.parts[2]) - 2), '''''', '''') else m.parts[2] end
            from regexp_matches(options, E'([a-zA-Z_]\\w*)\\s*=\\s*(''(?:[^'']|'''')*''|-?[\\w.]+)', 'g') m(parts)) end
        from (select E'[a-zA-Z_]\\w*\\s*=\\s*(?:''(?:[^'']|'''')*''|-?[\\w.]+)' as one) o;
$_$;

CREATE FUNCTION sidecar_internal.read_name(word text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    names constant text[] := parse_ident(word);
begin
    return case when cardinality(names) = 1 then names[1] end;
exception when invalid_parameter_value then
    return null;
end $$;

CREATE FUNCTION sidecar_internal.read_number(value text) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return value::numeric;
exception when invalid_text_representation or numeric_value_out_of_range or feature_not_supported then
    return null;
end $$;

CREATE TABLE sidecar_internal.recalls (
    watch_id integer NOT NULL,
    ef_search integer NOT NULL,
    k integer NOT NULL,
    recall double precision NOT NULL,
    lowest double precision NOT NULL,
    queries bigint NOT NULL,
    index_ms double precision NOT NULL,
    exact_ms double precision NOT NULL,
    index_id oid NOT NULL,
    index_file oid,
    fingerprint text,
    measured_by name DEFAULT SESSION_USER NOT NULL,
    measured_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE FUNCTION sidecar_internal.recalls_of(w sidecar_internal.watches) RETURNS SETOF sidecar_internal.recalls
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION sidecar_internal.release_companion(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $_$
begin
    if exists (select from pg_class c where c.oid = w.companion) then
        execute format('drop trigger if exists sidecar_%1$s_row_deleted on %2$s; '
                       'drop trigger if exists sidecar_%1$s_rows_emptied on %2$s', w.id, w.companion);
    end if;
    if sidecar_internal.has_view(w) then
        begin
            execute format('drop view %s', w.companion_view);
            update sidecar_internal.watches x set companion_view = null where x.id = w.id;
        exception when dependent_objects_still_exist then
            raise warning 'view % stays: %', w.companion_view, sqlerrm using hint = 'Drop what depends on it, then the view.';
        end;
    end if;
end $_$;

CREATE FUNCTION sidecar_internal.release_tables(w sidecar_internal.watches, limits record) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    locked regclass;
begin
    for locked in select t.relation from sidecar_internal.triggers_of(w) t group by t.relation order by t.relation = w.relation desc loop
        perform sidecar_internal.lock_table(locked, 'access exclusive', limits);
    end loop;
    perform sidecar_internal.drop_triggers(w);
    perform sidecar_internal.release_companion(w);
end $$;

CREATE FUNCTION sidecar_internal.remains_in(w sidecar_internal.watches, home regclass) RETURNS TABLE(what text, statement text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET quote_all_identifiers TO 'off'
    AS $$
declare
    vectors record;
begin
    select a.attnum, c.relkind into vectors from pg_attribute a join pg_class c on c.oid = a.attrelid
        where a.attrelid = home and a.attname = w.target and not a.attisdropped and sidecar_internal.storage_of(home, w.target) is not null;
    if not found then
        return;
    end if;
    return query
        select format('index %s', i.indexrelid::regclass),
               format(case vectors.relkind when 'p' then 'drop index if exists %s;' else 'drop index concurrently if exists %s;' end, i.indexrelid::regclass)
            from pg_index i
            where i.indrelid = home and exists (
                select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                    and d.refclassid = 'pg_class'::regclass and d.refobjid = home and d.refobjsubid = vectors.attnum)
            order by i.indexrelid::regclass::text;
    if home = w.relation then
        return query select format('column %s.%I with its vectors', home, w.target), format('alter table %s drop column %I;', home, w.target);
    else
        return query select format('table %s with its vectors', home), format('drop table %s;', home);
    end if;
end $$;

CREATE FUNCTION sidecar_internal.remains_of(w sidecar_internal.watches, with_all boolean DEFAULT false) RETURNS TABLE(what text, statement text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET quote_all_identifiers TO 'off'
    AS $$
declare
    present constant regclass := coalesce(w.companion, w.relation);
begin
    if sidecar_internal.has_view(w) then
        return query select format('view %s', w.companion_view), format('drop view %s;', w.companion_view);
    end if;
    return query select r.* from sidecar_internal.remains_in(w, present) r;
    if w.moved_from <> present then
        return query select r.* from sidecar_internal.remains_in(w, w.moved_from) r;
    end if;
    return query
        select format('USAGE on schema %I for role %s', n.nspname, a.grantee::regrole), format('revoke usage on schema %I from %s;', n.nspname, a.grantee::regrole)
        from pg_namespace n cross join aclexplode(n.nspacl) a
        where n.oid in (select c.relnamespace from pg_class c where c.oid in (w.relation, w.companion))
          and a.privilege_type = 'USAGE' and a.grantee <> n.nspowner
          and a.grantee in (select r.role from sidecar_internal.roles() r where r.kind = 'worker' union select sidecar_internal.installer())
          and (with_all or not exists (
              select from sidecar_internal.watches x join pg_class c on c.oid in (x.relation, x.companion)
              where x.id <> w.id and x.unwatched_at is null and c.relnamespace = n.oid))
        order by 1;
end $$;

CREATE FUNCTION sidecar_internal.remains_of_all() RETURNS TABLE(what text, statement text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with remains as (
        select r.what, r.statement, min(w.id * 1000 + r.number) as place
            from sidecar_internal.watches w cross join lateral sidecar_internal.remains_of(w, true) with ordinality r(what, statement, number)
            where exists (select from pg_class c where c.oid = w.relation)
            group by r.what, r.statement
    )
    select s.what, s.statement from (
        select r.what, r.statement, r.place from remains r
        union all
        select 'extension vector (others may use it)', 'drop extension vector;', 9223372036854775807
            from pg_extension e where e.extname = 'vector') s
        order by s.place;
$$;

CREATE FUNCTION sidecar_internal.rename_former_target(relation regclass, new_target text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
    with unmatched as (
        select w.id, coalesce(w.companion, w.relation) as vector_table from sidecar_internal.watches w
        where w.relation = rename_former_target.relation and w.unwatched_at is not null
          and not exists (select from pg_attribute a where a.attrelid = coalesce(w.companion, w.relation)
                          and a.attname = w.target and not a.attisdropped)
    )
    update sidecar_internal.watches w set target = new_target from unmatched o
    where w.id = o.id and (select count(*) from unmatched) = 1
      and exists (select from pg_attribute a where a.attrelid = o.vector_table and a.attname = new_target and not a.attisdropped)
      and not exists (select from sidecar_internal.watches x where coalesce(x.companion, x.relation) = o.vector_table and x.target = new_target);
$$;

CREATE FUNCTION sidecar_internal.rename_ledger(watch_id integer, present text, wanted text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    execute format('drop table if exists sidecar_internal.%s_%s', wanted, watch_id);
    execute format('alter table sidecar_internal.%1$s_%3$s rename to %2$s_%3$s; alter index sidecar_internal.%1$s_%3$s_pkey rename to %2$s_%3$s_pkey; '
                   'alter index sidecar_internal.%1$s_%3$s_tombstones rename to %2$s_%3$s_tombstones; '
                   'alter index sidecar_internal.%1$s_%3$s_exceptions rename to %2$s_%3$s_exceptions', present, wanted, watch_id);
end $_$;

CREATE FUNCTION sidecar_internal.renew_grants() RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select sidecar_internal.grant_schema(r.role, r.kind) from sidecar_internal.roles() r;
$$;

CREATE FUNCTION sidecar_internal.renumber_events(watch_id integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    if to_regclass(format('sidecar_internal.events_%s', watch_id)) is not null then
        execute format('with waiting as (select e.gen from sidecar_internal.events_%1$s e
                                         where e.lease_until is null or e.lease_until < now() order by e.gen for update skip locked),
                             numbered as materialized (select w.gen, nextval(''sidecar_internal.generation'') as fresh
                                                       from (select w.gen from waiting w order by w.gen offset 0) w)
                        update sidecar_internal.events_%1$s e set gen = n.fresh from numbered n where e.gen = n.gen', watch_id);
    end if;
end $_$;

CREATE FUNCTION sidecar_internal.report_breakage(watch_id integer, code text, message text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if not exists (select from sidecar_internal.breakages b
                   where b.watch_id = report_breakage.watch_id and b.code = report_breakage.code) then
        raise warning 'sidecar: watch % could not record a change (%): %', watch_id, code, message
            using hint = 'Rows may go without a fresh vector until sidecar.watch is called again: see sidecar.status.';
        insert into sidecar_internal.breakages (watch_id, code, message) values (watch_id, code, message);
    end if;
exception when others then
    raise warning 'sidecar: watch % could not report its fault: %', watch_id, sqlerrm;
end $$;

CREATE FUNCTION sidecar_internal.report_former_indexes(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    former record;
begin
    for former in select * from sidecar_internal.former_indexes(w) loop
        raise notice 'index % serves this watch no longer; a running sidecar that may act for the owner drops it%', former.index,
                case when w.index_kind <> 'none' then ' when the new one is built' else '' end
            using hint = former.statement || ';';
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.report_remains(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    remains record;
begin
    for remains in select r.what, r.statement from sidecar_internal.remains_of(w) r loop
        raise notice '% stays', remains.what using hint = 'To remove it: ' || remains.statement;
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.request_vector(fingerprint text, kind text, content bytea, timeout_ms integer, OUT id bigint, OUT vector real[], OUT deadline timestamp with time zone, OUT pause_s double precision) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    wanted constant bytea := sha256(content);
begin
    if content is null or octet_length(content) = 0 then
        raise exception 'there is nothing to embed: the content is %', case when content is null then 'NULL' else 'empty' end
            using errcode = 'SC002';
    elsif timeout_ms is null or timeout_ms not between 1 and 3600000 then
        raise exception 'timeout_ms is %', coalesce(timeout_ms::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Give the longest wait in milliseconds, from 1 to 3600000 (an hour).';
    elsif pg_is_in_recovery() then
        raise exception 'this server is a read replica, where no query vector can be asked for' using errcode = 'read_only_sql_transaction',
            hint = 'Call it on the primary. For sidecar.embed within statements on a replica, run there once: call sidecar.enable_embed(server => ''host=<the primary> port=5432'');';
    end if;
    -- Most of the usual wait in one pause: fifty sessions that poll every millisecond would keep two cores busy.
    pause_s := least(greatest(0.001, 0.7 * (select min(s.answer_s) from sidecar_internal.query_servers s
                                            where s.fingerprint = request_vector.fingerprint)), 1, timeout_ms / 2000.0);
    deadline := clock_timestamp() + make_interval(secs => timeout_ms / 1000.0);
    perform set_config('synchronous_commit', 'off', true); -- nothing here outlives a crash
    select q.id, q.vector into id, vector from sidecar_internal.query_vectors q
        where q.fingerprint = request_vector.fingerprint and q.kind = request_vector.kind and q.digest = wanted;
    if vector is not null then
        update sidecar_internal.query_vectors q set used_at = clock_timestamp()
            where q.id = request_vector.id and q.used_at < clock_timestamp() - interval '1 min';
        return;
    end if;
    perform sidecar_internal.check_query_server(fingerprint);
    delete from sidecar_internal.query_vectors q
        where q.id = request_vector.id and (q.error is not null or (q.taken_by is null and q.deadline < clock_timestamp()));
    if id is null or found then
        id := null;
        insert into sidecar_internal.query_vectors (fingerprint, kind, digest, content, deadline)
            values (request_vector.fingerprint, request_vector.kind, wanted, request_vector.content, request_vector.deadline)
            on conflict do nothing returning query_vectors.id into id;
    else
        update sidecar_internal.query_vectors q set deadline = greatest(q.deadline, request_vector.deadline) where q.id = request_vector.id;
    end if;
    if id is not null then
        perform pg_notify('sidecar_queries', id::text);
    end if;
exception when serialization_failure or unique_violation then
    id := null; -- REPEATABLE READ, and somebody else has asked for it since
end $$;

CREATE FUNCTION sidecar_internal.retry_helps(reason text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select reason not in ('not_a_picture', 'truncated_picture', 'unsupported_format');
$$;

CREATE FUNCTION sidecar_internal.retype_ledger(watch_id integer, former_types text[], wanted_types text[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET extra_float_digits TO '1'
    SET "DateStyle" TO 'ISO, YMD'
    SET "IntervalStyle" TO 'postgres'
    SET "TimeZone" TO 'UTC'
    SET bytea_output TO 'hex'
    SET lc_monetary TO 'C'
    AS $_$
declare
    w sidecar_internal.watches := (select x from sidecar_internal.watches x where x.id = watch_id);
    ledger regclass := to_regclass(format('sidecar_internal.ledger_%s', watch_id));
    definitions text[];
begin
    if ledger is null or (former_types = wanted_types and sidecar_internal.key_fault(w) is null) then
        return true;
    elsif cardinality(former_types) <> cardinality(wanted_types) then
        return false;
    -- A cast of a user-defined type would be looked up, and run with our rights. Or the type has only the name of the former one.
    elsif exists (select from pg_attribute a where a.attrelid = ledger and a.attname ~ '^k[0-9]+$' and a.atttypid >= 16384)
            or exists (select from unnest(wanted_types) u(type) where to_regtype(u.type)::oid >= 16384) then
        return false;
    end if;
    definitions := (sidecar_internal.primary_key_of(w.relation)).definitions;
    execute format('alter table %s %s', ledger, (
        select string_agg(format('alter column k%1$s type %2$s using k%1$s::text::%3$s', i, definitions[i], wanted_types[i]), ', ')
        from generate_subscripts(wanted_types, 1) i));
    return true;
exception when data_exception or integrity_constraint_violation then
    return false;
end $_$;

CREATE FUNCTION sidecar_internal.revoke_table(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    worker regrole;
    c record := sidecar_internal.columns_of(w);
    readable constant text := concat_ws(', ', c.readable, case when w.companion is not null then c.written end);
    other sidecar_internal.watches;
begin
    if readable = '' or not exists (select from pg_class k where k.oid = w.relation and pg_has_role(k.relowner, 'usage')) then
        return; -- its columns or the table are gone, or it belongs to another role
    end if;
    for worker in select r.role from sidecar_internal.roles() r where r.kind = 'worker' union select sidecar_internal.installer() loop
        if exists (select from pg_class k where k.oid = w.relation and k.relowner = worker) then
            continue; -- an owner's privileges are not from us
        end if;
        execute format('revoke select (%s) on %s from %s', readable, w.relation, worker);
        if c.written is not null then
            execute format('revoke update (%s) on %s from %s', c.written, w.relation, worker);
        end if;
        if exists (select from pg_class k where k.oid = w.companion and k.relowner <> worker) then
            execute format('revoke all on %s from %s', w.companion, worker);
        end if;
    end loop;
    for other in select * from sidecar_internal.watches x where x.relation = w.relation and x.id <> w.id and x.unwatched_at is null loop
        perform sidecar_internal.grant_table(other);
    end loop;
exception when others then
    raise warning 'the sidecar''s grants on % could not be taken back: %', w.relation, sqlerrm;
end $$;

CREATE FUNCTION sidecar_internal.rls_hides(relation regclass, role name) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_class c, pg_roles r
                   where c.oid = rls_hides.relation and r.rolname = rls_hides.role and c.relrowsecurity
                     and not (r.rolsuper or r.rolbypassrls)
                     and (c.relforcerowsecurity or not pg_has_role(r.oid, c.relowner, 'usage')));
$$;

CREATE FUNCTION sidecar_internal.roles() RETURNS TABLE(role regrole, kind text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select a.grantee::regrole, case when bool_or(c.relname = 'sidecars') then 'worker' else 'reader' end
        from pg_class c cross join aclexplode(c.relacl) a
        where c.oid in ('sidecar_internal.sidecars'::regclass, 'sidecar_internal.progress'::regclass) -- by the index, in a catalogue of many tables
          and a.grantee not in (0, c.relowner)
          and ((c.oid = 'sidecar_internal.sidecars'::regclass and a.privilege_type = 'INSERT')
               or (c.oid = 'sidecar_internal.progress'::regclass and a.privilege_type = 'SELECT'))
        group by a.grantee;
$$;

CREATE FUNCTION sidecar_internal.row_vectors(relation regclass, target text, keys jsonb[], filter jsonb) RETURNS TABLE(n bigint, key json, vector bytea)
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    row_key constant text[] := sidecar_internal.exact_keys(w, w.relation, 't');
    numbered constant text := (select string_agg(format('%L, k.key->%L', 'k' || i, w.key_columns[i]), ', ' order by i) from generate_subscripts(w.key_columns, 1) i);
    companion constant text := case when w.companion is null then '' else format(' left join %s h on %s', w.companion, sidecar_internal.for_each_key(
        sidecar_internal.exact_keys(w, w.companion, 'h'), row_key, '%3$s = %2$s', ' and ')) end;
begin
    return query execute format('select f.n, json_build_object(%1$s), %2$s.vector_send(f.v::%2$s.vector)
                                 from (select k.n, %3$s, sidecar_internal.exactly(null::%4$s, %5$s.%6$I) as v
                                       from unnest($1) with ordinality k(key, n) cross join lateral %7$s join %8$s t on %9$s%10$s where true%11$s) f',
        sidecar_internal.key_fields(w, 'f'), ext, sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s as k%1$s'),
        sidecar_internal.stored_type(w), case when w.companion is null then 't' else 'h' end, w.target,
        sidecar_internal.typed_key(w, format('jsonb_build_object(%s)', numbered)), w.relation,
        sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s = r.k%1$s', ' and '), companion,
        sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_columns(w)))
        using keys;
end $_$;

CREATE FUNCTION sidecar_internal.rows_statement(w sidecar_internal.watches, reason text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET quote_all_identifiers TO 'off'
    AS $_$
declare
    columns constant text[] := array(select a.attname from pg_attribute a where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped);
    shown text := sidecar_internal.for_each_key(w.key_columns, null, 't.%2$I');
begin
    if not w.key_columns <@ columns then
        return null;
    elsif rows_statement.reason <> 'read_rejected' and w.source <@ columns then
        shown := shown || (select string_agg(format(case w.kind when 'image' then ', octet_length(t.%1$I) as %2$I' else ', left(t.%1$I::text, 80) as %1$I' end,
                                                    s.c, s.c || '_bytes'), '' order by s.i)
                           from unnest(w.source) with ordinality s(c, i) where w.kind = 'image' or s.c <> all (w.key_columns));
    end if;
    return format('select %s, f.message from sidecar.failures f join %s t on %s where f.relation = %L::regclass and f.target = %L and f.reason = %L order by f.at desc;',
                  shown, w.relation,
                  (select string_agg(format(case w.key_types[k.i] when 'jsonb' then 't.%1$I = f.key->%1$L' else 't.%1$I = (f.key->>%1$L)::%2$s' end,
                                            k.c, w.key_types[k.i]), ' and ' order by k.i)
                   from unnest(w.key_columns) with ordinality k(c, i)),
                  w.relation, w.target, rows_statement.reason);
end $_$;

CREATE FUNCTION sidecar_internal.running_builds() RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(jsonb_object_agg(b.watch_id, b.build), '{}') from (
        select w.id as watch_id, 'building' as build from sidecar_internal.watches w
            join pg_locks l on l.locktype = 'advisory' and l.objsubid = 1 and l.granted
                and l.database = (select d.oid from pg_database d where d.datname = current_database())
                and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('sidecar.index.' || w.id, 0)
            where not exists (select from sidecar.index_builds p where p.watch_id = w.id)
        union all
        select p.watch_id, min(format('building: %s %s%%', p.phase, p.percent)) from sidecar.index_builds p group by p.watch_id) b;
$$;

CREATE FUNCTION sidecar_internal.sample_rows(relation regclass, target text, at_most integer, filter jsonb DEFAULT '{}'::jsonb) RETURNS TABLE(key json, label text, vector bytea)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    vector_table constant regclass := coalesce(w.companion, w.relation);
    condition constant text := sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_columns(w));
    row_key constant text[] := sidecar_internal.exact_keys(w, w.relation, 't');
    sampled constant text := format('tablesample system (%s)',
        least(100, 100.0 * greatest(20 * at_most, 5000) / greatest((sidecar_internal.count_rows(vector_table, false)).n, 1)));
    -- Of a companion no more rows are joined than have to be: the planner would read all of the watched table for thousands.
    drawn constant text := format('select %1$s, %2$I from %3$s %4$s where %2$I is not null order by random()%5$s', sidecar_internal.for_each_key(w.key_columns, null, '%2$I'),
        w.target, w.companion, sampled, case when condition = '' then format(' limit %s', 2 * at_most) end);
    tables constant text := case when w.companion is null then format('%s t %s', w.relation, sampled)
        else format('(%s) h join %s t on %s', drawn, w.relation, sidecar_internal.for_each_key(
             sidecar_internal.exact_keys(w, w.companion, 'h'), row_key, '%3$s = %2$s', ' and ')) end;
    vector constant text := format('sidecar_internal.exactly(null::%s, %s.%I)', sidecar_internal.stored_type(w), case when w.companion is null then 't' else 'h' end, w.target);
    shown constant text[] := array(
        select sidecar_internal.found_column(w.relation, 't', e.name) from unnest(sidecar_internal.exposed_columns(w)) with ordinality e(name, n)
        join pg_attribute a on a.attrelid = w.relation and a.attname = e.name cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        where b.type <> 'bytea'::regtype order by e.n);
begin
    return query execute format('
        select json_build_object(%1$s), %4$s, %2$s.vector_send(s.v::%2$s.vector)
        from (select %3$s, %5$s as v%6$s from %7$s where %5$s is not null%8$s order by random() limit $1) s',
        sidecar_internal.key_fields(w, 's'), ext, sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s as k%1$s'),
        coalesce((select format('left(concat_ws('', '', %s), 200)', string_agg(format('s.c%s', c.n), ', ' order by c.n)) from unnest(shown) with ordinality c(_, n) having count(*) > 0),
                 'null::text'), vector,
        (select string_agg(format(', %s as c%s', c.expression, c.n), '' order by c.n) from unnest(shown) with ordinality c(expression, n)), tables, condition)
        using at_most;
end $_$;

CREATE FUNCTION sidecar_internal.sample_rows_per_page(relation regclass) RETURNS double precision
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    pages constant double precision := greatest(pg_relation_size(relation) / current_setting('block_size')::integer, 1);
    share constant double precision := least(1, 256 / pages);
    rows bigint;
begin
    if not sidecar_internal.may_count(relation) then
        return 10;
    end if;
    execute format('select count(*) from %s tablesample system (%s) repeatable (0)', relation, 100 * share) into rows;
    return rows / (pages * share);
end $$;

CREATE FUNCTION sidecar_internal.sample_source(w sidecar_internal.watches, rows bigint, sample_rows integer, head_bytes integer) RETURNS TABLE(bytes bigint, head bytea)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    min_pages constant double precision := 100;
    pages double precision := (select greatest(sum(pg_relation_size(t.home)), 1) / current_setting('block_size')::integer
                               from sidecar_internal.tree_of(w.relation) t);
    wanted double precision := least(1, sample_rows / greatest(rows, 1)::double precision);
    share double precision := least(1, greatest(wanted, min_pages / greatest(pages, 1)));
    content text := format('nullif(concat_ws('' '', %s), '''')', (select string_agg(format('t.%I', c), ', ' order by i) from unnest(w.source) with ordinality u(c, i)));
    measured text := case w.kind when 'image' then (
        select format('octet_length(%1$s)::bigint, substring(%1$s from 1 for $1)',
                      format('sidecar_internal.exactly((null::%s[])[1], t.%I)', format_type(a.atttypid, null), a.attname))
            from pg_attribute a where a.attrelid = w.relation and a.attname = w.source[1])
                     else format('octet_length(%s)::bigint, null::bytea', content) end;
    found record;
begin
    for found in execute format('select t.tableoid::regclass as part, t.ctid as place from %s t tablesample system (%s) where random() <= %s',
                                w.relation, 100 * share, wanted / share) loop
        begin
            -- Through its root a partition is read with the rights on the root, but only after all partitions were looked at.
            execute format('select %s from %s t where t.ctid = $2 and t.tableoid = $3', measured,
                           case when has_table_privilege(found.part, 'select') then format('only %s', found.part) else w.relation::text end) into bytes, head
                using head_bytes, found.place, found.part::oid;
        exception when data_exception or program_limit_exceeded or internal_error or data_corrupted or index_corrupted or io_error then
            bytes := null;
            head := null;
        end;
        return next;
    end loop;
end $_$;

CREATE FUNCTION sidecar_internal.sample_vectors(w sidecar_internal.watches, sample integer) RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    vector_table constant regclass := coalesce(w.companion, w.relation);
    rows constant bigint := greatest((sidecar_internal.count_rows(vector_table, false)).n, 1);
begin
    -- Twice as many are drawn as are wanted, since some rows have no vector; small tables are drawn whole.
    return query execute format('select x.v from (select sidecar_internal.exactly(null::%s, h.%I)::text as v from %s h tablesample bernoulli (%s)
                                                  where h.%2$I is not null) x order by random() limit $1',
        sidecar_internal.stored_type(w), w.target, vector_table, least(100, 200.0 * greatest(sample, 100) / rows)) using sample;
end $_$;

CREATE FUNCTION sidecar_internal.save_watch(wanted sidecar_internal.watches, former sidecar_internal.watches) RETURNS sidecar_internal.watches
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    saved sidecar_internal.watches;
    other sidecar_internal.watches;
    fits boolean := (former.kind, former.dimensions) = (wanted.kind, wanted.dimensions)
                    and (former.storage = wanted.storage or former.companion is distinct from wanted.companion);
begin
    select * into other from sidecar_internal.watches w
        where w.id is distinct from former.id and coalesce(w.companion, w.relation) = coalesce(wanted.companion, wanted.relation)
          and (w.target = wanted.target or w.companion = wanted.companion);
    if found then
        raise exception 'column % of % holds the vectors of another watch, on %', quote_literal(other.target),
                coalesce(other.companion, other.relation), other.relation
            using errcode = 'duplicate_object', hint = format('Name another one, or: select sidecar.unwatch(%L, %L, drop_target => true)',
                                                              other.relation, other.target);
    end if;
    if former.id is null then
        insert into sidecar_internal.watches (relation, key_columns, key_types, kind, source, target, companion, dimensions, index_kind,
                                     index_method, index_options, model, expose, storage)
            values (wanted.relation, wanted.key_columns, wanted.key_types, wanted.kind, wanted.source, wanted.target,
                    wanted.companion, wanted.dimensions, wanted.index_kind, wanted.index_method, wanted.index_options, wanted.model, wanted.expose, wanted.storage)
            returning * into saved;
        perform sidecar_internal.drop_queue(saved.id, keep_ledger => false); -- left by a watch with this id whose row was not restored
        return saved;
    end if;
    if not fits or not sidecar_internal.retype_ledger(former.id, former.key_types, wanted.key_types) then
        perform sidecar_internal.drop_queue(former.id, keep_ledger => false);
    end if;
    -- The new generation invalidates the ledger entries until the backfill has read their rows, which may have changed since.
    update sidecar_internal.watches w
        set key_columns = wanted.key_columns, key_types = wanted.key_types, kind = wanted.kind, source = wanted.source,
            companion = wanted.companion, dimensions = wanted.dimensions, index_kind = wanted.index_kind, index_method = wanted.index_method,
            index_options = wanted.index_options, model = wanted.model,
            expose = wanted.expose, storage = wanted.storage, unwatched_at = null, created_at = now(),
            truncated_gen = nextval('sidecar_internal.generation'), paused = former.paused and former.unwatched_at is null,
            fingerprint = case when former.dimensions = wanted.dimensions then w.fingerprint end,
            encoder = case when former.dimensions = wanted.dimensions then w.encoder end
        where w.id = former.id returning * into saved;
    return saved;
end $$;

CREATE FUNCTION sidecar_internal.scan_setting(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case w.index_method when 'hnsw' then 'hnsw.ef_search' when 'ivfflat' then 'ivfflat.probes' end;
$$;

CREATE FUNCTION sidecar_internal.scan_setting_statement(setting text, value integer) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format(E'select ''[1]''::%I.vector;\nalter database %I set %s = %s;', sidecar_internal.vector_schema(), current_database(), setting, value)
           || coalesce((select string_agg(format(E'\nalter role %I%s set %s = %s;', r.rolname,
                               case when d.setdatabase <> 0 then format(' in database %I', current_database()) end, setting, value), '' order by r.rolname)
                        from pg_db_role_setting d join pg_roles r on r.oid = d.setrole cross join unnest(d.setconfig) c(setting)
                        where d.setdatabase in (0, (select b.oid from pg_database b where b.datname = current_database()))
                          and c.setting ~ '=\d+$' and split_part(c.setting, '=', 1) = scan_setting_statement.setting
                          and split_part(c.setting, '=', 2)::integer < value), '');
$_$;

CREATE FUNCTION sidecar_internal.search_document(relation regclass, columns text[], config regconfig) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    missing text := (select c.name from unnest(columns) c(name)
                      where not exists (select from pg_attribute a where a.attrelid = relation and a.attname = c.name
                                        and a.attnum > 0 and not a.attisdropped) limit 1);
begin
    if missing is not null or coalesce(cardinality(columns), 0) = 0 or array_position(columns, null) is not null then
        raise exception 'table % has no column %', relation, coalesce(quote_literal(missing), 'NULL')
            using errcode = 'undefined_column', hint = sidecar_internal.did_you_mean_column(missing, relation)
                                                  || 'Name text columns, or one tsvector column: document => array[''title''].';
    elsif cardinality(columns) = 1 and exists (select from pg_attribute a where a.attrelid = relation and a.attname = columns[1]
                                               and a.atttypid = 'tsvector'::regtype) then
        return format('t.%I', columns[1]);
    end if;
    return (select format('to_tsvector(%L::regconfig, %s)', config,
                          string_agg(format('coalesce(t.%I, '''')', c.name), ' || '' '' || ' order by c.n))
            from unnest(columns) with ordinality c(name, n));
end $$;

CREATE FUNCTION sidecar_internal.search_page_statement(w sidecar_internal.watches, columns text[], filter jsonb, document text[], after boolean) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    vector constant text := format('sidecar_internal.exactly(null::%s, h.%I)', sidecar_internal.stored_type(w), w.target);
    compared constant record := sidecar_internal.compared_type(w);
    type constant text := format('%s.%s(%s)', ext, compared.name, w.dimensions);
    tables constant text := case when w.companion is null then format('%s h', w.relation)
        else format('%s h join %s t on %s', w.companion, w.relation, sidecar_internal.for_each_key(
             sidecar_internal.exact_keys(w, w.companion, 'h'), sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and ')) end;
    t constant text := case when w.companion is null then 'h' else 't' end;
    condition constant text := sidecar_internal.filter_condition(w, filter, t, w.key_columns || sidecar_internal.exposed_columns(w));
    measure constant text := format('%s%s operator(%s.<=>) $1::%s', vector, case when compared.is_cast then '::' || type else '' end, ext, type);
    keys constant text := sidecar_internal.for_each_key(w.key_columns, null, 'n.k%1$s');
    rows_to_read constant text := case w.index_method
        when 'ivfflat' then '($2 * 4 ^ greatest(ceil(log(4, ($2::bigint + $3)::numeric / $2)), 1))::bigint' else '$2::bigint + $3' end;
    beyond constant text := case when after then format(' and (%1$s > $5 or (%1$s = $5 and (%2$s) > (select %3$s from %4$s)))', measure,
        sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, t), '%3$s'),
        sidecar_internal.for_each_key(w.key_columns, null, 'r.k%1$s'), sidecar_internal.typed_key(w, '$6')) else '' end;
    shown constant text := (
        select string_agg(format('(%L, %s)', c.name, sidecar_internal.shown_value(w.relation, c.name, 'n.c' || c.n)), ', ' order by c.n)
        from unnest(columns) with ordinality c(name, n));
begin
    return format('
        with nearest as materialized (
            select f.* from (
                select %1$s, %2$s as vector%3$s, %4$s as document, %5$s as place from %6$s where %2$s is not null%7$s
                order by %5$s fetch first (%13$s) rows with ties) f limit %13$s + 1000
        ), page as (
            select n.*, row_number() over (order by n.place + 0, %8$s) as n from nearest n
        )
        select json_build_object(%9$s), (n.vector%10$s operator(%11$s.<=>) $1::%11$s.vector)::float8 as distance, %12$s, n.document,
               jsonb_build_object(''n'', $4 + n.n, ''distance'', n.place, ''key'',
                   (select jsonb_object_agg(f.key, case json_typeof(f.value) when ''number'' then to_jsonb(f.value #>> ''{}'') else f.value::jsonb end)
                    from json_each(json_build_object(%9$s)) f))
        from page n where n.n > $3 and n.n <= $2::bigint + $3 order by distance, %8$s',
        sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, t), '%3$s as k%1$s'), vector,
        (select string_agg(format(', %s as c%s', sidecar_internal.found_column(w.relation, t, c.name), c.n), '' order by c.n) from unnest(columns) with ordinality c(name, n)),
        case when cardinality(document) > 0 then
            format('concat_ws('' '', %s)', (select string_agg(format('%s.%I', t, c), ', ') from unnest(document) c)) else 'null::text' end,
        measure, tables, condition || beyond, keys, sidecar_internal.key_fields(w, 'n'), case w.storage when 'vector' then '' else format('::%s.vector', ext) end, ext,
        case when shown is null then '''{}''::json'
             else format('(select json_object_agg(v.name, v.value) from (values %s) v(name, value))', shown) end, rows_to_read);
end $_$;

CREATE FUNCTION sidecar_internal.search_statement(w sidecar_internal.watches) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
end $_$;

CREATE FUNCTION sidecar_internal.search_targets_statement(watches sidecar_internal.watches[], filter jsonb, columns text[], document text[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    w constant sidecar_internal.watches := watches[1];
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    condition constant text := sidecar_internal.filter_condition(w, filter, 't', w.key_columns || sidecar_internal.exposed_by_all(watches));
    keys constant text := sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s');
    row_key constant text[] := sidecar_internal.exact_keys(w, w.relation, 't');
    targets constant text[] := array(select x.target from unnest(watches) with ordinality x order by x.ordinality);
    rankings constant text[] := array(select sidecar_internal.nearest_ranking(watches[i], condition) from generate_subscripts(watches, 1) i order by i);
    vectors constant text[] := array(
        select format('sidecar_internal.exactly(null::%s, %s.%I)', sidecar_internal.stored_type(watches[i]),
                      case when watches[i].companion is null then 't' else 'h' || i end, watches[i].target)
        from generate_subscripts(watches, 1) i order by i);
    companions constant text := (
        select string_agg(format(' left join %s h%s on %s', watches[i].companion, i, sidecar_internal.for_each_key(
                   sidecar_internal.exact_keys(watches[i], watches[i].companion, 'h' || i), row_key, '%3$s = %2$s', ' and ')), '' order by i)
        from generate_subscripts(watches, 1) i where watches[i].companion is not null);
    found constant text := (
        select string_agg(format(', %s as c%s', sidecar_internal.found_column(w.relation, 't', c.name), c.n), '' order by c.n)
        from unnest(columns) with ordinality c(name, n));
    shown constant text := (
        select string_agg(format('(%L, %s)', c.name, sidecar_internal.shown_value(w.relation, c.name, 'n.c' || c.n)), ', ' order by c.n)
        from unnest(columns) with ordinality c(name, n));
begin
    return format('
        with %1$s,
        ranked as materialized (
            select p.*, %2$s as score
            from (select %3$s, %4$s from (%5$s) u group by %3$s) p order by score desc, %3$s limit $5
        )
        select json_build_object(%6$s), n.score, least(%7$s), json_build_object(%8$s), json_build_object(%9$s), %10$s, n.document
        from (select %11$s, r.score, %12$s, %13$s%14$s, %15$s as document from ranked r join %16$s t on %17$s%18$s) n
        order by n.score desc, %19$s',
        sidecar_internal.for_each_key(targets, rankings, 'near%1$s as (%3$s)'),
        sidecar_internal.for_each_key(targets, null, 'coalesce($2[%1$s] / ($4 + p.place%1$s), 0)', ' + '), keys,
        sidecar_internal.for_each_key(targets, null, 'min(u.place) filter (where u.n = %1$s) as place%1$s'),
        sidecar_internal.for_each_key(targets, null, 'select ' || keys || ', %1$s as n, place from near%1$s', ' union all '),
        sidecar_internal.key_fields(w, 'n'), sidecar_internal.for_each_key(targets, null, 'n.distance%1$s'),
        sidecar_internal.for_each_key(targets, null, '%2$L, n.distance%1$s'), sidecar_internal.for_each_key(targets, null, '%2$L, n.place%1$s'),
        case when shown is null then '''{}''::json' else format('(select json_object_agg(v.name, v.value) from (values %s) v(name, value))', shown) end,
        sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s as k%1$s'), sidecar_internal.for_each_key(targets, null, 'r.place%1$s'),
        sidecar_internal.for_each_key(targets, vectors, format('nullif((%%3$s::%1$s.vector operator(%1$s.<=>) $1::%1$s.vector)::float8, ''NaN'') as distance%%1$s', ext)),
        found, case when cardinality(document) > 0 then
            format('concat_ws('' '', %s)', (select string_agg(format('t.%I', c), ', ') from unnest(document) c)) else 'null::text' end,
        w.relation, sidecar_internal.for_each_key(w.key_columns, row_key, '%3$s = r.k%1$s', ' and '), companions,
        sidecar_internal.for_each_key(w.key_columns, null, 'n.k%1$s'));
end $_$;

CREATE FUNCTION sidecar_internal.searchable_columns(w sidecar_internal.watches) RETURNS TABLE(name text, filter_type text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select a.attname, case when t.typtype = 'e' or t.oid in ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype,
                                          'float4'::regtype, 'float8'::regtype, 'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype,
                                          'name'::regtype, '"char"'::regtype, 'uuid'::regtype, 'date'::regtype, 'time'::regtype,
                                          'timetz'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'interval'::regtype,
                                          'inet'::regtype, 'cidr'::regtype, 'macaddr'::regtype, 'macaddr8'::regtype, 'bit'::regtype,
                                          'varbit'::regtype, 'money'::regtype, 'bytea'::regtype, 'oid'::regtype)
                        then format('%I.%I', n.nspname, t.typname) end
        from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        join pg_type t on t.oid = b.type join pg_namespace n on n.oid = t.typnamespace
        where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped and a.attname = any (w.key_columns || w.expose);
$$;

CREATE FUNCTION sidecar_internal.sees_truncate(w sidecar_internal.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_trigger t where t.tgrelid = w.companion and t.tgname = format('sidecar_%s_rows_emptied', w.id));
$$;

CREATE FUNCTION sidecar_internal.serving_roles() RETURNS SETOF name
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with running as (
        select distinct s.role from sidecar_internal.sidecars s where s.seen_at > clock_timestamp() - interval '30 s'
    ), granted as (
        select pg_get_userbyid(r.role) as role from sidecar_internal.roles() r where r.kind = 'worker'
    )
    select role from running
    union select role from granted where not exists (select from running)
    union select current_user where not exists (select from running) and not exists (select from granted);
$$;

CREATE FUNCTION sidecar_internal.session_setting(name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(nullif(current_setting(name, true), ''),
                    case name when 'hnsw.ef_search' then '40' when 'hnsw.max_scan_tuples' then '20000' when 'ivfflat.probes' then '1' else 'off' end);
$$;

CREATE FUNCTION sidecar_internal.set_embed_server(address text, password text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $$
declare
    options text;
begin
    select string_agg(format('%I %L', o.name, o.value), ', ') into options
        from (select m.parts[1], m.parts[2] from regexp_matches(address, '(\w+)\s*=\s*(\S+)', 'g') as m(parts)
              union all select 'dbname', current_database() where address !~ '\mdbname\s*=') o(name, value);
    drop server if exists sidecar_embed cascade;
    execute format('create server sidecar_embed foreign data wrapper dblink_fdw options (%s)', options);
    execute format('grant usage on foreign server sidecar_embed to %s', sidecar_internal.installer());
    execute format('create user mapping for %s server sidecar_embed options ("user" %L, password %L)', sidecar_internal.installer(),
                   sidecar_internal.embed_role(), password);
end $$;

CREATE FUNCTION sidecar_internal.set_paused(relation regclass, target text, paused boolean) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    meant constant integer[] := array(select m.id from sidecar_internal.watches_meant(relation, target) m);
    changed integer;
begin
    update sidecar_internal.watches w set paused = set_paused.paused
        where w.unwatched_at is null and w.paused is distinct from set_paused.paused
          and w.id = any (meant);
    get diagnostics changed = row_count;
    perform pg_notify('sidecar_watches', '');
    return changed;
end $$;

CREATE FUNCTION sidecar_internal.show_row(w sidecar_internal.watches, key jsonb) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    shown json;
    fields text := (select string_agg(format('json_build_object(%s)', part.pairs), ', ' order by part.n) from (
        select (a.position - 1) / 50 as n, string_agg(format(case a.type when 'bytea' then '%1$L, case when t.%2$I is not null then json_build_object(''bytes'', octet_length(t.%2$I)) end'
                                                   else '%1$L, t.%2$I' end, a.attname, a.attname), ', ' order by a.position) as pairs
        from (select x.attname, b.printed as type, row_number() over (order by x.attnum) as position
              from pg_attribute x cross join sidecar_internal.base_type(x.atttypid, x.atttypmod) b join pg_type y on y.oid = b.type
              where x.attrelid = w.relation and x.attnum > 0 and not x.attisdropped
                and y.typname not in ('vector', 'halfvec', 'sparsevec')) a
        group by 1) part);
begin
    execute format('select array_to_json(array[%s]) from %s join %s t on %s', fields, sidecar_internal.typed_key(w, '$1'), w.relation,
                   sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = r.k%1$s', ' and '))
        into shown using sidecar_internal.numbered_key(w, key);
    return shown;
end $_$;

CREATE FUNCTION sidecar_internal.shown_value(relation regclass, column_name text, expression text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format(case when b.type < 16384 then 'to_json(%1$s)' else 'case when %1$s is not null then to_json(concat(%1$s)) end' end, expression)
        from pg_attribute a cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b
        where a.attrelid = shown_value.relation and a.attname = column_name and a.attnum > 0 and not a.attisdropped;
$_$;

CREATE FUNCTION sidecar_internal.start_move(former sidecar_internal.watches, saved sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $_$
declare
    old_ledger constant text := format('sidecar_internal.former_%s', saved.id);
    new_table constant regclass := coalesce(saved.companion, saved.relation);
    old_table constant regclass := coalesce(former.companion, former.relation);
    is_under_way boolean := false;
    worker regrole;
begin
    if to_regclass(old_ledger) is not null then
        execute format('select exists (select from %s)', old_ledger) into is_under_way;
    end if;
    if is_under_way and former.moved_from = new_table and former.moved_fingerprint = former.fingerprint then
        -- The move is reversed. Entries of both ledgers are good: a vector counts only if it has the digest of its entry.
        if former.storage = saved.storage then
            execute format('insert into sidecar_internal.former_%1$s select * from sidecar_internal.ledger_%1$s on conflict do nothing', saved.id);
            perform sidecar_internal.rename_ledger(saved.id, 'former', 'ledger');
            update sidecar_internal.watches x set moved_from = null where x.id = saved.id;
            return;
        end if;
        -- The ledgers change places: what was moved has the digests of the other type, by which it moves back.
        perform sidecar_internal.rename_ledger(saved.id, 'ledger', 'moved'), sidecar_internal.rename_ledger(saved.id, 'former', 'ledger'),
                sidecar_internal.rename_ledger(saved.id, 'moved', 'former');
    else
        perform sidecar_internal.rename_ledger(saved.id, 'ledger', 'former');
    end if;
    update sidecar_internal.watches x set moved_from = old_table, moved_fingerprint = saved.fingerprint where x.id = saved.id;
    perform sidecar_internal.start_scan(saved.id, 'move');
    for worker in select r.role from sidecar_internal.roles() r
                  where r.kind = 'worker' and exists (select from pg_attribute a
                                                      where a.attrelid = old_table and a.attname = former.target and not a.attisdropped) loop
        execute format('grant select (%s, %I) on %s to %s', sidecar_internal.for_each_key(former.key_columns, null, '%2$I'), former.target, old_table, worker);
    end loop;
end $_$;

CREATE FUNCTION sidecar_internal.start_scan(watch_id integer, purpose text, force boolean DEFAULT false) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    insert into sidecar_internal.scans (watch_id, purpose, force, start_gen)
        values (watch_id, purpose, force, pg_sequence_last_value('sidecar_internal.generation'))
    on conflict (watch_id, purpose) do update
        set last_key = null, phase = 'rows', force = excluded.force or (scans.force and scans.finished_at is null),
            started_at = now(), finished_at = null, start_gen = excluded.start_gen, passed_by = '{}', rows_seen = 0, bytes_seen = 0, found = 0, next_page_at = '-infinity';
$$;

CREATE FUNCTION sidecar_internal.start_sweeps(watch_ids integer[], interval_s double precision) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with due as (
        select u.id from unnest(watch_ids) u(id)
        left join sidecar_internal.scans s on s.watch_id = u.id and s.purpose = 'sweep'
        where s.watch_id is null or s.finished_at < now() - greatest(
            make_interval(secs => interval_s), least(9 * (s.finished_at - s.started_at), interval '1 day'))
    ), started as (
        insert into sidecar_internal.scans (watch_id, purpose, finished_at)
        select w.id, 'sweep', now() from due d join sidecar_internal.watches w on w.id = d.id and w.unwatched_at is null
        order by w.id for key share of w
        on conflict (watch_id, purpose) do update set last_key = null, phase = 'rows', started_at = now(), finished_at = null
            where scans.finished_at < now() - make_interval(secs => interval_s)
        returning finished_at is null as has_started
    )
    select count(*) from started s where s.has_started;
$$;

CREATE FUNCTION sidecar_internal.start_watch(wanted sidecar_internal.watches, former sidecar_internal.watches, companion_name text, limits record) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    adds_target constant boolean := companion_name is null and sidecar_internal.target_is_missing(wanted);
    saved sidecar_internal.watches;
begin
    perform sidecar_internal.check_row_security(wanted.relation);
    perform sidecar_internal.check_row_security(wanted.companion);
    perform sidecar_internal.lock_table(wanted.relation, case when adds_target then 'access exclusive' else 'share row exclusive' end, limits);
    if former.id is null and (sidecar_internal.find_watch(wanted.relation, wanted.target)).id is not null then
        return null;
    end if;
    if companion_name is not null and wanted.companion is null then
        wanted.companion := sidecar_internal.create_companion(wanted, companion_name);
    elsif companion_name is not null then
        perform sidecar_internal.lock_table(wanted.companion, 'share row exclusive', limits);
    elsif adds_target then
        perform sidecar_internal.add_target(wanted);
    end if;
    saved := sidecar_internal.save_watch(wanted, former);
    perform sidecar_internal.prepare_ledger(former, saved);
    perform sidecar_internal.install_watch(saved);
    if former.id is not null then
        perform sidecar_internal.start_scan(saved.id, 'sweep'); -- finds what was deleted while the table was not watched
    end if;
    if former.dimensions <> wanted.dimensions then
        perform sidecar_internal.start_scan(saved.id, 'clear');
    elsif saved.fingerprint is not null and saved.model not in (saved.fingerprint, coalesce(saved.encoder, '')) then
        perform sidecar.reembed(saved.relation, saved.target, saved.model);
    end if;
    perform sidecar_internal.report_former_indexes(saved);
    perform sidecar_internal.warn_of_updates(saved);
    perform sidecar_internal.warn_of_dimensions(saved);
    perform sidecar_internal.warn_of_old_pgvector();
    return saved.id;
end $$;

CREATE FUNCTION sidecar_internal.state_of(w sidecar_internal.watches, pending bigint, failed bigint DEFAULT 0) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION sidecar_internal.state_of_row(watch_id integer, key jsonb, OUT state text, OUT reason text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    w sidecar_internal.watches;
begin
    select * into w from sidecar_internal.watches x where x.id = watch_id and x.unwatched_at is null;
    if w.id is not null and sidecar_internal.key_fault(w) is null then
        execute format($sql$
            select case l.content_hash when 'failed' then 'failed' else 'done' end
            from %1$s join sidecar_internal.ledger_%2$s l on %3$s
            where l.content_hash is not null and l.gen > $2 and not exists (
                select from sidecar_internal.scans s where s.watch_id = $3 and s.purpose = 'clear' and s.finished_at is null)
        $sql$, sidecar_internal.typed_key(w, '$1'), w.id, sidecar_internal.for_each_key(w.key_columns, null, 'l.k%1$s = r.k%1$s', ' and '))
            into state using sidecar_internal.numbered_key(w, key), w.truncated_gen, w.id;
        reason := (select d.reason || ': ' || d.message from sidecar_internal.failures d
                   where state = 'failed' and d.watch_id = w.id and d.key = sidecar_internal.failure_key(state_of_row.key));
    end if;
end $_$;

CREATE FUNCTION sidecar_internal.state_of_watch(watch_id integer) RETURNS text
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select sidecar_internal.state_of(w, 1) from sidecar_internal.watches w where w.id = watch_id;
$$;

CREATE FUNCTION sidecar_internal.storage_of(relation regclass, column_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select t.typname::text from pg_attribute a
        join pg_type t on t.oid = a.atttypid and t.typname in ('vector', 'halfvec')
        join pg_extension e on e.extname = 'vector' and e.extnamespace = t.typnamespace
        where a.attrelid = storage_of.relation and a.attname = storage_of.column_name and not a.attisdropped;
$$;

CREATE FUNCTION sidecar_internal.stored_type(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('%I.%I', sidecar_internal.vector_schema(), w.storage);
$$;

CREATE FUNCTION sidecar_internal.structure_fault(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when w.storage <> 'vector' then format('its vectors are stored as %s, which takes a sidecar of a newer version', w.storage)
           else sidecar_internal.structure_fault_v2(w) end;
$$;

CREATE FUNCTION sidecar_internal.structure_fault_v2(w sidecar_internal.watches) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    named text[];
    present sidecar_internal.watches;
    key record;
begin
    if not exists (select from pg_class c where c.oid = w.relation) then
        return 'the table is gone';
    elsif sidecar_internal.pgvector_fault() is not null then
        return sidecar_internal.pgvector_fault();
    elsif w.companion is not null and not exists (select from pg_class c where c.oid = w.companion) then
        return 'the companion table is gone';
    elsif not exists (select from pg_trigger t where t.tgrelid = w.relation and starts_with(t.tgname, format('sidecar_%s_', w.id))) then
        return 'its triggers are gone';
    end if;
    key := sidecar_internal.primary_key_of(w.relation);
    if (key.columns, key.types) is distinct from (w.key_columns, w.key_types) then
        return format('the primary key was (%s), now it is (%s)', sidecar_internal.for_each_key(w.key_columns, w.key_types, '%2$s %3$s'),
                      sidecar_internal.for_each_key(key.columns, key.types, '%2$s %3$s'));
    end if;
    if sidecar_internal.key_fault(w) is not null then
        return sidecar_internal.key_fault(w);
    end if;
    perform sidecar_internal.kind_of_source(w.relation, w.source, w.kind);
    present := sidecar_internal.with_present_names(w);
    named := sidecar_internal.columns_of_trigger(w, w.relation, 'update');
    if present.target <> w.target then
        return format('column %I is now called %I', w.target, present.target);
    elsif not w.source <@ named then
        return format('of the source columns (%s) the triggers know only (%s): they were renamed',
                      array_to_string(w.source, ', '), array_to_string(named, ', '));
    elsif not sidecar_internal.generation_inputs(w.relation, array(select a.attname::text from pg_attribute a where a.attrelid = w.relation
                                                  and a.attname = any (w.source) and a.attgenerated::text = 'v')) <@ named then
        return format('the source (%s) is computed from columns that the triggers do not know: its expression was changed',
                      array_to_string(w.source, ', '));
    elsif not exists (select from pg_attribute a where a.attrelid = coalesce(w.companion, w.relation) and a.attname = w.target
                      and not a.attisdropped and a.attgenerated = '' and a.atttypmod in (w.dimensions, -1)
                      and sidecar_internal.storage_of(a.attrelid, a.attname) = w.storage) then
        return format('%s has no column %I of type %s(%s)', coalesce(w.companion, w.relation), w.target, w.storage, w.dimensions);
    end if;
    return null;
exception when invalid_table_definition or undefined_column or datatype_mismatch then
    return sqlerrm;
end $_$;

CREATE FUNCTION sidecar_internal.summarized_recall(measured jsonb) RETURNS TABLE(ef integer, recall double precision, lowest double precision, queries bigint, index_ms double precision, exact_ms double precision)
    LANGUAGE sql IMMUTABLE ROWS 5
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select m.ef, avg(m.share), min(m.share), count(m.share),
           percentile_cont(0.5) within group (order by m.index_ms), percentile_cont(0.5) within group (order by m.exact_ms)
        from jsonb_to_recordset(measured) m(ef integer, share double precision, index_ms double precision, exact_ms double precision)
        group by m.ef order by m.ef;
$$;

CREATE FUNCTION sidecar_internal.sync_companion(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    made regclass;
begin
    if w.companion is null then
        return;
    end if;
    perform sidecar_internal.create_deletion_trigger(w);
    if not sidecar_internal.has_view(w) then
        made := sidecar_internal.create_companion_view(w);
        update sidecar_internal.watches x set companion_view = made where x.id = w.id and x.companion_view is distinct from made;
        if made is not null then
            raise notice '% joins % and its vectors', made, w.relation;
        end if;
    end if;
end $$;

CREATE FUNCTION sidecar_internal.table_problem(relation regclass, OUT message text, OUT hint text, OUT code text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform sidecar_internal.check_relation(relation);
    perform sidecar_internal.primary_key_of(relation);
    perform sidecar_internal.check_key_types(relation);
    perform sidecar_internal.check_row_security(relation);
exception when others then
    get stacked diagnostics message = message_text, hint = pg_exception_hint, code = returned_sqlstate;
end $$;

CREATE FUNCTION sidecar_internal.takes_model(w sidecar_internal.watches, model text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when w.fingerprint is not null then m.name in (w.fingerprint, regexp_replace(w.encoder, '^hf-hub:', ''))
                else w.model is null or m.name = regexp_replace(w.model, '^hf-hub:', '') end
        from (select regexp_replace(btrim(takes_model.model), '^hf-hub:', '') as name) m;
$$;

CREATE FUNCTION sidecar_internal.target_is_missing(w sidecar_internal.watches) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    label text := format('%s.%I', w.relation, w.target);
    existing record;
begin
    select format_type(a.atttypid, a.atttypmod) as type, a.attnotnull, a.attgenerated, a.atttypmod,
           sidecar_internal.storage_of(w.relation, w.target) as storage into existing
        from pg_attribute a where a.attrelid = w.relation and a.attname = w.target and a.attnum > 0 and not a.attisdropped;
    if not found then
        return true;
    elsif w.target = any (w.key_columns) or existing.attgenerated <> '' then
        raise exception 'column % is part of the key or generated, so it cannot hold the vector', label
            using errcode = 'invalid_table_definition', hint = 'Name another target: a missing column is added.';
    elsif existing.storage is null then
        raise exception 'column % has type %, not %(%)', label, existing.type, w.storage, w.dimensions
            using errcode = 'datatype_mismatch', hint = 'Name another target: a missing column is added with the right type.';
    elsif existing.storage <> w.storage then
        raise exception 'column % has type %, but the watch asks for storage ''%''', label, existing.type, w.storage
            using errcode = 'datatype_mismatch', hint = sidecar_internal.advise_on_storage(w, existing.storage);
    elsif existing.atttypmod not in (w.dimensions, -1) then
        raise exception 'column % has type %, but the watch asks for % dimensions', label, existing.type, w.dimensions
            using errcode = 'datatype_mismatch', hint = format('Say dimensions => %s, or name another target.', existing.atttypmod);
    elsif existing.atttypmod = -1 and w.index_kind = w.storage then
        raise exception 'column % has no dimensions, so it cannot have an index on %', label, w.index_kind
            using errcode = 'datatype_mismatch',
                  hint = format('Run: alter table %s alter column %I type %s(%s); or say index => ''%s''.', w.relation, w.target,
                                sidecar_internal.stored_type(w), w.dimensions, case w.storage when 'vector' then 'halfvec' else 'none' end);
    elsif existing.attnotnull then
        raise exception 'column % is NOT NULL, but a new row has no vector yet', label
            using errcode = 'invalid_table_definition',
                  hint = format('Run: alter table %s alter column %I drop not null;', w.relation, w.target);
    end if;
    return false;
end $$;

CREATE FUNCTION sidecar_internal.texts_with(flag text, relation regclass, target text, max_rows integer) RETURNS TABLE(key jsonb, embedded_at timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "IntervalStyle" TO 'postgres'
    SET "TimeZone" TO 'UTC'
    SET lc_monetary TO 'C'
    AS $_$
declare
    w sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    ledger constant regclass := format('sidecar_internal.ledger_%s', w.id);
begin
    if max_rows < 1 then
        raise exception 'max_rows is %', max_rows using errcode = 'invalid_parameter_value', hint = 'Give a number above 0, or NULL for all.';
    elsif not has_table_privilege(ledger, 'select') then
        raise exception 'permission denied to list rows of %', w.relation using errcode = 'insufficient_privilege',
            hint = format('sidecar.status counts them. To list them, connect as %s, which installed the sidecar, or as a role of a sidecar.',
                          sidecar_internal.installer());
    end if;
    return query execute format('select jsonb_build_object(%s), l.embedded_at from %s l where l.%I and l.content_hash is not null order by %s limit $1',
                                sidecar_internal.key_fields(w, 'l'), ledger, flag, sidecar_internal.for_each_key(w.key_columns, null, 'l.k%1$s'))
        using max_rows;
end $_$;

CREATE FUNCTION sidecar_internal.tree_of(relation regclass, OUT home regclass, OUT parent regclass, OUT is_leaf boolean, OUT level integer) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with recursive tree(home, parent, kind, level) as (
        select c.oid, null::oid, c.relkind, 0 from pg_class c where c.oid = tree_of.relation and c.relkind in ('r', 'p')
        union all
        select c.oid, t.home, c.relkind, t.level + 1
            from tree t cross join lateral (
                select x.oid, x.relkind from pg_inherits i cross join lateral (select y.oid, y.relkind from pg_class y where y.oid = i.inhrelid offset 0) x
                where i.inhparent = t.home offset 0) c
            where t.kind = 'p'
    )
    select t.home, t.parent, t.kind <> 'p', t.level from tree t order by t.level, t.home;
$$;

CREATE FUNCTION sidecar_internal.triggers_fit(w sidecar_internal.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select count(*) = 5 and bool_and(
        t.compares_safely
        and case when t.name like '%\_update' then t.names_columns <> sidecar_internal.changes_unnamed(w)
                 when t.name ~ '_(insert|delete)$' then t.for_row else true end)
        and not sidecar_internal.partition_lacks_trigger(w) and not sidecar_internal.inherits(w.relation)
        from sidecar_internal.triggers_of(w) t where t.fires;
$_$;

CREATE FUNCTION sidecar_internal.triggers_of(w sidecar_internal.watches, OUT name name, OUT relation regclass, OUT for_row boolean, OUT names_columns boolean, OUT fires boolean, OUT compares_safely boolean) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select t.tgname, t.tgrelid::regclass, t.tgtype & 1 = 1, t.tgattr <> ''::int2vector,
           t.tgenabled = 'A' or (t.tgenabled = 'O' and (not exists (select from pg_subscription_rel) or not sidecar_internal.is_subscribed(t.tgrelid))),
           t.tgqual is null or t.tgqual::text like format('%%:funcid %s %%', 'record_image_ne(record,record)'::regprocedure::oid)
        from pg_trigger t
        where t.tgrelid in (w.relation, w.companion)
          -- sidecar_1_insert, not sidecar_1_row_deleted; a regular expression would be compiled again for each watch.
          and starts_with(t.tgname, 'sidecar_') and split_part(t.tgname, '_', 2) = w.id::text
          and split_part(t.tgname, '_', 3) <> '' and split_part(t.tgname, '_', 4) = '';
$$;

CREATE FUNCTION sidecar_internal.try_index_options(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'error'
    AS $$
declare
    built text[];
    known text;
begin
    if w.index_options = '{}' then
        return;
    end if;
    begin
        execute format('create temp table sidecar_trial (e %s(%s)) on commit drop', sidecar_internal.stored_type(w), w.dimensions);
        w.target := 'e';
        execute format('create index sidecar_trial_index on pg_temp.sidecar_trial using %I %s%s', w.index_method, sidecar_internal.index_key(w),
                       sidecar_internal.index_options(w.index_options));
        select coalesce(c.reloptions, '{}') into built from pg_class c where c.oid = to_regclass('pg_temp.sidecar_trial_index');
        raise exception 'undo' using errcode = 'SCX01';
    exception
        when sqlstate 'SCX01' then
            null;
        when invalid_parameter_value or syntax_error then
            known := sqlerrm;
        when others then
            return;
    end;
    if known is not null or not built @> w.index_options then
        raise exception 'index method % does not take the options%: %', w.index_method, sidecar_internal.index_options(w.index_options),
                coalesce(known, format('it makes%s of them', sidecar_internal.index_options(built)))
            using errcode = 'invalid_parameter_value', hint = 'The documentation of its extension lists them.';
    end if;
end $$;

CREATE FUNCTION sidecar_internal.try_watch(wanted sidecar_internal.watches, companion_name text, replace boolean, limits record) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    former sidecar_internal.watches;
    is_same boolean;
begin
    perform set_config('lock_timeout', limits.theirs, true);
    select * into former from sidecar_internal.watches w where w.relation = wanted.relation and w.target = wanted.target for update;
    perform set_config('lock_timeout', limits.ours, true);
    if former.id is not null and former.unwatched_at is null then
        is_same := sidecar_internal.is_same_watch(former, wanted) and (former.companion is null) = (companion_name is null);
        if not replace and not (is_same and sidecar_internal.present_columns(former) = wanted.expose) then
            raise exception '%.% is already watched, with source %, companion %, dimensions %, model %, index %, storage %, expose %', wanted.relation,
                quote_ident(former.target), former.source, coalesce(former.companion::text, 'none'), former.dimensions,
                coalesce(former.model, 'any'), sidecar_internal.index_argument(former), former.storage, former.expose
                using errcode = 'duplicate_object', hint = 'Add replace => true to change it, or name another target.';
        elsif is_same and sidecar_internal.is_intact(former, wanted.key_columns, wanted.key_types) then
            former := sidecar_internal.change_exposure(former, wanted.expose);
            perform sidecar_internal.grant_table(former);
            perform sidecar_internal.sync_companion(former);
            return former.id;
        end if;
        perform sidecar_internal.end_watch(former.id, former.relation, false, limits);
    end if;
    return sidecar_internal.start_watch(wanted, former, companion_name, limits);
end $$;

CREATE FUNCTION sidecar_internal.typed_key(w sidecar_internal.watches, parameter text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format('(select %s from jsonb_populate_record(null::sidecar_internal.events_%s, %s) x) r',
                  string_agg(format(case when a.atttypid = 'jsonb'::regtype then 'coalesce(x.%1$I, ''null'') as %1$I' else 'x.%1$I' end, a.attname), ', '),
                  w.id, parameter)
        from pg_attribute a where a.attrelid = to_regclass(format('sidecar_internal.events_%s', w.id)) and a.attname ~ '^k[0-9]+$';
$_$;

CREATE FUNCTION sidecar_internal.unreadable_columns(w sidecar_internal.watches, role name) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
        from pg_attribute a join pg_roles r on r.rolname = unreadable_columns.role
        where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped and a.attname = any (w.expose)
          and not has_column_privilege(r.oid, a.attrelid, a.attnum, 'select');
$$;

CREATE FUNCTION sidecar_internal.usable_indexes(w sidecar_internal.watches, vector_table regclass, OUT index regclass, OUT valid boolean, OUT parent regclass) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION sidecar_internal.used_by_others() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with ours as (
        select 'pg_class'::regclass as class, c.oid as object from pg_class c where c.relnamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
        union all select 'pg_proc'::regclass, p.oid from pg_proc p where p.pronamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
        union all select 'pg_type'::regclass, t.oid from pg_type t where t.typnamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
    ), dependent as (
        select coalesce(r.ev_class, a.adrelid, c.conrelid, case when d.classid = 'pg_class'::regclass then d.objid end)::regclass::text as relation,
               case when d.classid = 'pg_proc'::regclass then d.objid end::regprocedure::text as routine
            from pg_depend d
            join ours o on o.class = d.refclassid and o.object = d.refobjid
            left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
            left join pg_attrdef a on d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
            left join pg_constraint c on d.classid = 'pg_constraint'::regclass and c.oid = d.objid
            where d.deptype = 'n'
    )
    select string_agg(distinct coalesce(d.relation, d.routine), ', ') from dependent d
        where coalesce(d.relation, d.routine) !~ '^sidecar(_internal)?\.';
$$;

CREATE FUNCTION sidecar_internal.usual_ef_search() RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select sidecar_internal.usual_setting('hnsw.ef_search') $$;

CREATE FUNCTION sidecar_internal.usual_recall_of(w sidecar_internal.watches) RETURNS sidecar_internal.recalls
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select r from sidecar_internal.recalls_of(w) r where r.ef_search <= coalesce(sidecar_internal.usual_setting(sidecar_internal.scan_setting(w)), 0) order by r.ef_search desc limit 1;
$$;

CREATE FUNCTION sidecar_internal.usual_setting(name text) RETURNS integer
    LANGUAGE sql STABLE STRICT
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select coalesce(
        (select split_part(c.setting, '=', 2)::integer from pg_db_role_setting d cross join unnest(d.setconfig) c(setting)
         where d.setrole = 0 and d.setdatabase in (0, (select b.oid from pg_database b where b.datname = current_database()))
           and c.setting ~ '=\d+$' and split_part(c.setting, '=', 1) = name order by d.setdatabase = 0 limit 1),
        sidecar_internal.session_setting(name)::integer);
$_$;

CREATE FUNCTION sidecar_internal.values_to_measure(w sidecar_internal.watches) RETURNS integer[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION sidecar_internal.vector_schema() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    found_schema text;
    found_version text;
begin
    select n.nspname, e.extversion into found_schema, found_version
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector';
    if found_schema is null then
        raise exception 'the pgvector extension is not installed in database "%"', current_database()
            using errcode = 'undefined_object', hint = case
                when exists (select from pg_available_extensions a where a.name = 'vector') then 'Run: create extension vector;'
                else format('Install it on the server, for example: apt-get install postgresql-%s-pgvector; then run: create extension vector;',
                            current_setting('server_version_num')::integer / 10000) end;
    elsif string_to_array(substring(found_version from '^[0-9]+(?:[.][0-9]+)*'), '.')::int[] < array[0, 8, 0] then
        raise exception 'pgvector % is too old: 0.8.0 or newer is needed', found_version
            using errcode = 'feature_not_supported', hint = 'Install a newer pgvector, then: alter extension vector update;';
    end if;
    return found_schema;
end $$;

CREATE FUNCTION sidecar_internal.wait_limits(OUT tries integer, OUT theirs text, OUT ours text, OUT own text, OUT began timestamp with time zone) RETURNS record
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when ms = 0 then 5 else 1 end, format('%sms', case when ms = 0 then 2000 else ms end),
           format('%sms', case when ms = 0 then 500 else least(ms, 500) end), printed, clock_timestamp()
    from (select s.setting::integer as ms, current_setting('lock_timeout') as printed from pg_settings s where s.name = 'lock_timeout') x;
$$;

CREATE FUNCTION sidecar_internal.wait_one_embedded(w sidecar_internal.watches, key jsonb, deadline timestamp with time zone, timeout_ms integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    waiting record;
    pause_s double precision := 0.002;
begin
    perform sidecar_internal.check_row_exists(w, key); -- first, because unwatch locks the user's table before ours
    waiting := sidecar_internal.events_of_key(w.id, key);
    if waiting.is_own then
        raise exception 'row % of % was written in this transaction, which no one else can see yet', key, w.relation
            using errcode = 'object_not_in_prerequisite_state', hint = 'Commit first, then call sidecar.wait_embedded.';
    end if;
    loop
        -- Each statement of a READ COMMITTED transaction takes a new snapshot, so this sees what the sidecar commits.
        if not sidecar_internal.is_waiting(w.id, waiting.gens) then
            waiting := sidecar_internal.events_of_key(w.id, key, waiting.times);
            if waiting.gens is null and sidecar_internal.is_done(w, key) then
                return;
            end if;
        end if;
        perform sidecar_internal.check_row_exists(w, key);
        if clock_timestamp() >= deadline then
            raise exception 'row % of % was not embedded within % ms', key, w.relation, timeout_ms
                using errcode = 'SC001',
                      hint = format('The watch on %s: %s. See sidecar.status.', w.target, sidecar_internal.state_of_watch(w.id));
        end if;
        perform pg_sleep(least(pause_s, greatest(0, extract(epoch from deadline - clock_timestamp()))));
        pause_s := least(pause_s * 1.5, 0.05);
    end loop;
end $$;

CREATE FUNCTION sidecar_internal.wake_sleepers(watch_id integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if to_timestamp(pg_sequence_last_value(format('sidecar_internal.asleep_%s', watch_id)::regclass) / 1000.0::float8) > clock_timestamp() then
        perform sidecar_internal.notify_sleepers();
    end if;
end $$;

CREATE FUNCTION sidecar_internal.warn_of_dimensions(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    running text := (select string_agg(distinct format('%s makes %s', s.model, s.dimensions), ', ') from sidecar_internal.sidecars s
                     where s.seen_at > clock_timestamp() - interval '30 s'
                     having bool_and(s.dimensions <> w.dimensions));
begin
    if running is not null then
        raise warning 'no running sidecar makes vectors of % dimensions (%): nothing will be embedded', w.dimensions, running
            using hint = 'Say dimensions => the number that the model makes, or run a sidecar with another VISION_MODEL_ID.';
    end if;
end $$;

CREATE FUNCTION sidecar_internal.warn_of_old_pgvector() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    version text := (select e.extversion from pg_extension e where e.extname = 'vector');
begin
    if string_to_array(substring(version from '^[0-9]+(?:[.][0-9]+)*'), '.')::int[] < array[0, 8, 4] then
        raise warning 'pgvector % has known faults in HNSW indexes', version
            using hint = 'Install 0.8.4 or newer, then: alter extension vector update;';
    end if;
end $$;

CREATE FUNCTION sidecar_internal.warn_of_updates(w sidecar_internal.watches) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    live bigint;
    updates bigint;
begin
    select sum(s.n_live_tup), sum(s.n_tup_upd) - coalesce((select sum(p.embedded_total) from sidecar_internal.progress p
                                                           join sidecar_internal.watches x on x.id = p.watch_id
                                                           where x.relation = w.relation and x.companion is null), 0)
        into live, updates from pg_stat_all_tables s where s.relid in (select t.home from sidecar_internal.tree_of(w.relation) t);
    if w.companion is null and w.index_kind <> 'none' and w.index_method = 'hnsw' and updates > greatest(1000, live) then
        raise warning 'table % has seen % updates of % rows: an HNSW index on the same row makes each of them about % ms slower',
            w.relation, updates, live, case w.index_kind when 'halfvec' then 1 else 2 end
            using hint = 'Keep the vector in a table of its own: companion => ''some_table''.';
    end if;
end $$;

CREATE FUNCTION sidecar_internal.watch_statement(w sidecar_internal.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('select sidecar.watch(%L, source => array[%s], target => %L, kind => %L, companion => %L, dimensions => %s, model => %L, index => %L%s%s)',
                  w.relation, (select string_agg(quote_literal(c), ', ' order by i) from unnest(w.source) with ordinality u(c, i)),
                  w.target, w.kind, case when w.companion is not null then coalesce(
                      (select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.companion),
                      (select format('%I.%I', n.nspname, left(c.relname || '_' || w.target, 63))
                       from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.relation)) end,
                  w.dimensions, w.model, sidecar_internal.index_argument(w), case when w.storage <> 'vector' then format(', storage => %L', w.storage) else '' end,
                  coalesce(', expose => array[' || (
                      select string_agg(quote_literal(c), ', ' order by i)
                      from unnest(sidecar_internal.present_columns(w)) with ordinality u(c, i)) || ']', ''));
$$;

CREATE FUNCTION sidecar_internal.watch_to_end(relation regclass, target text, drop_target boolean) RETURNS sidecar_internal.watches
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    is_watched constant boolean := exists (select from sidecar_internal.watches x where x.relation = watch_to_end.relation and x.unwatched_at is null);
    ended text[];
    calls text;
begin
    select array_agg(x.target order by x.target), string_agg(format('select sidecar.unwatch(%L, %L, drop_target => true);', x.relation, x.target), ' ' order by x.target)
        into ended, calls
        from sidecar_internal.watches x
        where x.relation = watch_to_end.relation and x.unwatched_at is not null
          and (x.target = watch_to_end.target or (watch_to_end.target is null and not is_watched));
    if ended is null then
        return sidecar_internal.get_watch(relation, target);
    elsif drop_target and cardinality(ended) = 1 then
        return sidecar_internal.find_watch(relation, ended[1]);
    elsif drop_target then
        raise exception 'table % has % watches that have ended', relation, cardinality(ended) using errcode = 'ambiguous_column',
            hint = 'Name the target: ' || calls;
    end if;
    raise exception '% is no longer watched', case when cardinality(ended) > 1 then format('table %s', relation) else format('%s.%I', relation, ended[1]) end
        using errcode = 'undefined_object', hint = 'Its vectors are still there. To delete them: ' || calls;
end $$;

CREATE FUNCTION sidecar_internal.watches_meant(relation regclass, target text) RETURNS SETOF sidecar_internal.watches
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    targets text[];
    vectors_of text;
begin
    if watches_meant.relation is null and watches_meant.target is not null then
        raise exception 'target % is named without its table', quote_literal(watches_meant.target)
            using errcode = 'invalid_parameter_value', hint = 'Name the table, too; without a target, all of its watches are meant.';
    end if;
    return query select x.* from sidecar_internal.watches x
        where x.unwatched_at is null and (watches_meant.relation is null or x.relation = watches_meant.relation)
          and (watches_meant.target is null or x.target = watches_meant.target) order by x.id;
    if found or watches_meant.relation is null then
        return;
    end if;
    targets := array(select x.target from sidecar_internal.watches x
                     where x.relation = watches_meant.relation and x.unwatched_at is null order by x.target);
    if cardinality(targets) > 0 then
        raise exception 'table % has no watch with target %', relation, quote_literal(watches_meant.target)
            using errcode = 'undefined_object',
                  hint = format('%sIts targets: %s', sidecar_internal.did_you_mean(watches_meant.target, targets), sidecar_internal.quoted_list(targets));
    end if;
    vectors_of := (select format('%s holds the vectors of %s: name that table.', watches_meant.relation, x.relation) from sidecar_internal.watches x
                   where watches_meant.relation in (x.companion, x.companion_view) and x.unwatched_at is null limit 1);
    raise exception 'table % is not watched', relation using errcode = 'undefined_object',
        hint = coalesce(vectors_of, format('select sidecar.watch(%L, source => ...) starts it; select * from sidecar.status lists what is watched.',
                                           relation::text));
end $$;

CREATE FUNCTION sidecar_internal.watches_of_targets(relation regclass, targets text[]) RETURNS sidecar_internal.watches[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    most constant integer := 8;
    named constant integer := coalesce(cardinality(targets), 0);
    found sidecar_internal.watches[];
    twice text;
    model record;
    other record;
begin
    if named not between 1 and most or exists (select from unnest(targets) t(name) where t.name is null) then
        raise exception '%', case when named between 1 and most then 'a target is NULL' else format('%s targets are named', named) end
            using errcode = 'invalid_parameter_value',
                  hint = format('Name 1 to %s vector columns of the table: targets => array[''photo_embedding'', ''title_embedding''].', most);
    end if;
    select t.name into twice from unnest(targets) t(name) group by t.name having count(*) > 1 limit 1;
    if twice is not null then
        raise exception 'target % is named twice', quote_literal(twice) using errcode = 'invalid_parameter_value', hint = 'Name it once; a weight makes it count for more.';
    end if;
    found := array(select sidecar_internal.get_watch(relation, t.name) from unnest(targets) with ordinality t(name, n) order by t.n);
    select w.target, w.fingerprint, w.dimensions into model from unnest(found) w order by w.fingerprint is null limit 1;
    select w.target into other from unnest(found) w where w.dimensions <> model.dimensions or w.fingerprint <> model.fingerprint limit 1;
    if other is not null then
        raise exception 'targets % and % hold vectors of two models', quote_literal(model.target), quote_literal(other.target)
            using errcode = 'invalid_parameter_value', hint = 'Search them one by one, each with a query vector of its own model.';
    end if;
    return found;
end $$;

CREATE FUNCTION sidecar_internal.with_index(w sidecar_internal.watches) RETURNS sidecar_internal.watches
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    name constant text := E'("(?:[^"]|"")+"|[^\\s"():,;]+)';
    said constant text := w.index_kind;
    -- method, whether there is a key, column, type, dimensions, operator class, whether there are options, options
    parts constant text[] := regexp_match(said, format(
        E'^\\s*using\\s+([a-z_]\\w*)\\s*(\\(\\s*(?:\\(\\s*)*%1$s(?:\\s*\\))?(?:\\s*::\\s*(vector|halfvec)\\s*(?:\\(\\s*(\\d{1,5})\\s*\\))?)?(?:\\s*\\))*(?:\\s*([a-z]+_[a-z0-9]+_ops))?\\s*\\))?\\s*(with\\s*\\((.*)\\))?\\s*$',
        name), 'i');
    brackets constant text := regexp_replace(parts[2], '"(?:[^"]|"")+"', '', 'g'); -- those of a name in quotes are part of it
    hint constant text := format('Say ''hnsw'', ''ivfflat'', ''vchordrq'', ''diskann'' or ''none'', or what create index takes after the table: '
        '''using hnsw ((%1$I::halfvec(%2$s)) halfvec_cosine_ops) with (m = 24, ef_construction = 128)''.', w.target, w.dimensions);
begin
    w.index_options := '{}';
    w.index_method := 'hnsw';
    if said in ('halfvec', 'vector', 'none') then
        return w;
    elsif said in ('hnsw', 'ivfflat', 'vchordrq', 'diskann') then
        w.index_method := said;
        w.index_kind := sidecar_internal.default_index_kind(said, w.storage);
        return w;
    elsif parts is null or length(replace(brackets, '(', '')) <> length(replace(brackets, ')', '')) then
        raise exception 'index is %', coalesce(quote_literal(said), 'NULL') using errcode = 'invalid_parameter_value', hint = hint;
    end if;
    w.index_method := lower(parts[1]);
    w.index_kind := coalesce(lower(parts[4]), case when parts[2] is not null then w.storage end,
                             sidecar_internal.default_index_kind(w.index_method, w.storage));
    if sidecar_internal.read_name(parts[3]) <> w.target or (parts[2] is not null and sidecar_internal.read_name(parts[3]) is null) then
        raise exception 'the index is on %, but the vectors are in %', parts[3], quote_ident(w.target)
            using errcode = 'invalid_parameter_value', hint = hint;
    elsif parts[5]::integer <> w.dimensions then
        raise exception 'the index is on % dimensions, but the vectors have %', parts[5], w.dimensions
            using errcode = 'invalid_parameter_value', hint = hint;
    elsif lower(parts[6]) <> w.index_kind || '_cosine_ops' then
        raise exception 'the index has operator class %, not %_cosine_ops', parts[6], w.index_kind
            using errcode = 'invalid_parameter_value', hint = 'Searches compare vectors by their cosine distance.';
    elsif parts[7] is not null then
        w.index_options := sidecar_internal.read_index_options(parts[8]);
        if w.index_options is null then
            raise exception 'the options of the index are (%)', parts[8] using errcode = 'invalid_parameter_value',
                hint = 'Say (name = value, ...): values are numbers, words, or texts in single quotes.';
        end if;
    end if;
    return w;
end $_$;

CREATE FUNCTION sidecar_internal.with_present_names(w sidecar_internal.watches) RETURNS sidecar_internal.watches
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    named text[] := sidecar_internal.columns_of_trigger(w, w.relation, 'update');
    target_named text[] := sidecar_internal.columns_of_trigger(w, coalesce(w.companion, w.relation), 'target');
    lost text[] := array(select distinct c from unnest(w.source) c where c <> all (named));
    -- The trigger also depends on the inputs of a virtual column.
    found text[] := array(select c from unnest(named) c
                          where c <> all (w.source || w.key_columns || sidecar_internal.generation_inputs(w.relation, named)));
begin
    if cardinality(lost) = 1 and cardinality(found) = 1 and not w.key_columns && lost and w.key_columns <@ named then
        w.source := array_replace(w.source, lost[1], found[1]);
    end if;
    if cardinality(target_named) = 1 then
        w.target := target_named[1];
    end if;
    return w;
end $$;

CREATE FUNCTION sidecar_internal.without_picture(w sidecar_internal.watches) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when w.kind = 'image' and w.expose && w.source then array(
        select e.name from (select u.name, u.n, row_number() over (partition by u.name order by u.n) as mention
                            from unnest(w.expose) with ordinality u(name, n)) e
        where e.name <> w.source[1] or e.mention > 1 order by e.n) else w.expose end;
$$;

CREATE FUNCTION sidecar_internal.word_query(config regconfig, query_text text) RETURNS tsquery
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select w.query from websearch_to_tsquery(config, regexp_replace(query_text, '-([[:space:]!&|()]*-){7,}', ' ', 'g')) w(query) where numnode(w.query) > 0;
$$;

CREATE TABLE sidecar_internal.failures (
    watch_id integer NOT NULL,
    key jsonb NOT NULL,
    gen bigint NOT NULL,
    attempts smallint NOT NULL,
    reason text NOT NULL,
    message text NOT NULL,
    failed_at timestamp with time zone DEFAULT now() NOT NULL,
    wide_key jsonb,
    CONSTRAINT failures_reason_check CHECK ((reason ~ '^[a-z0-9_]+$'::text))
);

CREATE VIEW sidecar.failures AS
 SELECT w.relation,
    w.target,
    COALESCE(d.wide_key, d.key) AS key,
    d.reason,
    d.message,
    d.attempts,
    d.failed_at AS at
   FROM (sidecar_internal.failures d
     JOIN sidecar_internal.watches w ON ((w.id = d.watch_id)))
  WHERE (w.unwatched_at IS NULL);

COMMENT ON VIEW sidecar.failures IS 'Rows whose current content cannot be embedded, and why. A row that changes is tried again automatically, others with sidecar.retry.';

COMMENT ON COLUMN sidecar.failures.key IS 'Primary key of the row.';

COMMENT ON COLUMN sidecar.failures.reason IS 'Code of the cause, such as not_a_picture.';

COMMENT ON COLUMN sidecar.failures.message IS 'What was wrong.';

COMMENT ON COLUMN sidecar.failures.attempts IS 'How often the row was tried.';

COMMENT ON COLUMN sidecar.failures.at IS 'When it failed.';

CREATE VIEW sidecar.failures_by_reason AS
 SELECT w.relation,
    w.target,
    g.reason,
    g.failures,
    g.oldest,
    g.newest,
    e.key AS example_key,
    e.message AS example_message,
    sidecar_internal.advice_on(g.reason) AS advice,
    w.id AS watch_id,
    sidecar_internal.rows_statement(w.*, g.reason) AS rows_statement,
        CASE
            WHEN sidecar_internal.retry_helps(g.reason) THEN format('select sidecar.retry(%L, %L, reason => %L);'::text, w.relation, w.target, g.reason)
            ELSE NULL::text
        END AS retry_statement
   FROM ((( SELECT d.watch_id,
            d.reason,
            count(*) AS failures,
            min(d.failed_at) AS oldest,
            max(d.failed_at) AS newest
           FROM sidecar_internal.failures d
          GROUP BY d.watch_id, d.reason) g
     JOIN sidecar_internal.watches w ON ((w.id = g.watch_id)))
     CROSS JOIN LATERAL ( SELECT COALESCE(d.wide_key, d.key) AS key,
            d.message
           FROM sidecar_internal.failures d
          WHERE ((d.watch_id = g.watch_id) AND (d.reason = g.reason))
          ORDER BY d.failed_at DESC
         LIMIT 1) e)
  WHERE (w.unwatched_at IS NULL);

COMMENT ON VIEW sidecar.failures_by_reason IS 'Failures of each watch, counted by reason, with an example and advice.';

COMMENT ON COLUMN sidecar.failures_by_reason.oldest IS 'When the first of them failed.';

COMMENT ON COLUMN sidecar.failures_by_reason.newest IS 'When the last of them failed.';

COMMENT ON COLUMN sidecar.failures_by_reason.example_key IS 'Primary key of the latest one.';

COMMENT ON COLUMN sidecar.failures_by_reason.advice IS 'What to do about failures of this reason.';

COMMENT ON COLUMN sidecar.failures_by_reason.rows_statement IS 'The query that shows these rows, joined with the watched table.';

COMMENT ON COLUMN sidecar.failures_by_reason.retry_statement IS 'The call that tries them again once the advice has been followed; NULL if only other content helps: a row that changes is tried again automatically.';

CREATE VIEW sidecar.index_builds AS
 SELECT w.id AS watch_id,
    w.relation,
    w.target,
    (p.relid)::regclass AS home,
    p.pid,
    p.phase,
    round(((100)::numeric * LEAST((1)::numeric, COALESCE(((p.blocks_done)::numeric / (NULLIF(p.blocks_total, 0))::numeric), ((p.tuples_done)::numeric / NULLIF(GREATEST((c.reltuples)::numeric, (p.tuples_total)::numeric, (0)::numeric), (0)::numeric)), (0)::numeric))), 1) AS percent,
    p.blocks_done,
    p.blocks_total,
    p.tuples_done,
    p.tuples_total
   FROM ((sidecar_internal.watches w
     JOIN pg_stat_progress_create_index p ON (((p.datname = current_database()) AND (p.relid IN ( SELECT t.home
           FROM sidecar_internal.tree_of(COALESCE(w.companion, w.relation)) t(home, parent, is_leaf, level))))))
     JOIN pg_class c ON ((c.oid = p.relid)))
  WHERE ((w.unwatched_at IS NULL) AND ((NOT (EXISTS ( SELECT
           FROM pg_class i
          WHERE (i.oid = p.index_relid)))) OR (EXISTS ( SELECT
           FROM (pg_depend d
             JOIN pg_attribute a ON (((a.attrelid = d.refobjid) AND (a.attnum = d.refobjsubid))))
          WHERE ((d.classid = ('pg_class'::regclass)::oid) AND (d.objid = p.index_relid) AND (d.refobjid = p.relid) AND (a.attname = w.target))))));

COMMENT ON VIEW sidecar.index_builds IS 'Index builds in progress, as far as the role may see them.';

COMMENT ON COLUMN sidecar.index_builds.home IS 'The table that is being indexed: the watched table, its companion, or a partition.';

COMMENT ON COLUMN sidecar.index_builds.percent IS 'Progress of the present phase.';

CREATE VIEW sidecar.measured_recall AS
 SELECT w.relation,
    w.target,
    r.ef_search,
    r.k,
    r.recall,
    r.lowest,
    r.queries,
    r.index_ms,
    r.exact_ms,
    r.measured_at,
    r.measured_by,
    (EXISTS ( SELECT
           FROM sidecar_internal.recalls_of(w.*) c(watch_id, ef_search, k, recall, lowest, queries, index_ms, exact_ms, index_id, index_file, fingerprint, measured_by, measured_at)
          WHERE (c.ef_search = r.ef_search))) AS is_current
   FROM (sidecar_internal.recalls r
     JOIN sidecar_internal.watches w ON ((w.id = r.watch_id)))
  WHERE (w.unwatched_at IS NULL);

COMMENT ON VIEW sidecar.measured_recall IS 'What sidecar.recall last measured without a filter, for each value of hnsw.ef_search or ivfflat.probes (0: another method).';

COMMENT ON COLUMN sidecar.measured_recall.recall IS 'Mean share of the k nearest rows that the index found.';

COMMENT ON COLUMN sidecar.measured_recall.lowest IS 'That share in the worst query.';

COMMENT ON COLUMN sidecar.measured_recall.is_current IS 'Whether the index and the model of the vectors are still those that were measured.';

CREATE TABLE sidecar_internal.scans (
    watch_id integer NOT NULL,
    purpose text NOT NULL,
    last_key text[],
    force boolean DEFAULT false NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    rows_seen bigint DEFAULT 0 NOT NULL,
    bytes_seen bigint DEFAULT 0 NOT NULL,
    found bigint DEFAULT 0 NOT NULL,
    next_page_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    phase text DEFAULT 'rows'::text NOT NULL,
    passed_by text[] DEFAULT '{}'::text[] NOT NULL,
    start_gen bigint,
    CONSTRAINT scans_phase_check CHECK ((phase = ANY (ARRAY['rows'::text, 'entries'::text, 'vectors'::text]))),
    CONSTRAINT scans_purpose_check CHECK ((purpose = ANY (ARRAY['clear'::text, 'move'::text, 'backfill'::text, 'sweep'::text, 'verify'::text])))
);

CREATE VIEW sidecar.scans AS
 SELECT w.relation,
    w.target,
    s.purpose,
    s.started_at,
    s.finished_at,
    s.rows_seen,
    s.bytes_seen,
    s.found
   FROM (sidecar_internal.scans s
     JOIN sidecar_internal.watches w ON ((w.id = s.watch_id)))
  WHERE (w.unwatched_at IS NULL);

COMMENT ON VIEW sidecar.scans IS 'Progress of passes over whole tables: clear, move, backfill, sweep, verify.';

COMMENT ON COLUMN sidecar.scans.finished_at IS 'NULL while it is running.';

COMMENT ON COLUMN sidecar.scans.rows_seen IS 'Rows read by a verification so far.';

COMMENT ON COLUMN sidecar.scans.bytes_seen IS 'Bytes read by a verification so far.';

COMMENT ON COLUMN sidecar.scans.found IS 'Rows that were found to differ and were enqueued.';

CREATE TABLE sidecar_internal.breakages (
    watch_id integer NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY sidecar_internal.breakages REPLICA IDENTITY FULL;

CREATE SEQUENCE sidecar_internal.generation
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE sidecar_internal.index_failures (
    watch_id integer NOT NULL,
    message text NOT NULL,
    attempts integer DEFAULT 1 NOT NULL,
    failed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    next_try_at timestamp with time zone NOT NULL
);

CREATE TABLE sidecar_internal.labels (
    watch_id integer NOT NULL,
    label text NOT NULL,
    "position" integer NOT NULL,
    prompt text NOT NULL,
    fingerprint text,
    vector real[],
    scale double precision,
    bias double precision,
    error text
);
ALTER TABLE ONLY sidecar_internal.labels ALTER COLUMN vector SET STORAGE EXTERNAL;

CREATE SEQUENCE sidecar_internal.notified
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;

CREATE TABLE sidecar_internal.progress (
    watch_id integer NOT NULL,
    embedded_total bigint DEFAULT 0 NOT NULL,
    lag_ms double precision,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    drawn bigint,
    drawn_at timestamp with time zone
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='50', autovacuum_vacuum_scale_factor='0');

CREATE UNLOGGED TABLE sidecar_internal.query_servers (
    id uuid NOT NULL,
    model text NOT NULL,
    fingerprint text NOT NULL,
    dimensions integer NOT NULL,
    answer_s double precision,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE UNLOGGED TABLE sidecar_internal.query_vectors (
    id bigint NOT NULL,
    fingerprint text NOT NULL,
    kind text NOT NULL,
    digest bytea NOT NULL,
    content bytea,
    deadline timestamp with time zone NOT NULL,
    taken_by uuid,
    vector real[],
    error text,
    sqlstate text,
    used_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT query_vectors_check CHECK ((num_nonnulls(content, vector, error) = 1)),
    CONSTRAINT query_vectors_check1 CHECK (((error IS NULL) = (sqlstate IS NULL))),
    CONSTRAINT query_vectors_digest_check CHECK ((octet_length(digest) = 32)),
    CONSTRAINT query_vectors_kind_check CHECK ((kind = ANY (ARRAY['text'::text, 'image'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000');
ALTER TABLE ONLY sidecar_internal.query_vectors ALTER COLUMN content SET STORAGE EXTERNAL;
ALTER TABLE ONLY sidecar_internal.query_vectors ALTER COLUMN vector SET STORAGE EXTERNAL;

ALTER TABLE sidecar_internal.query_vectors ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sidecar_internal.query_vectors_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE sidecar_internal.wake (
    sidecar_id uuid NOT NULL,
    asleep_until timestamp with time zone NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='50', autovacuum_vacuum_scale_factor='0');

ALTER TABLE sidecar_internal.watches ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sidecar_internal.watches_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY sidecar_internal.failures
    ADD CONSTRAINT failures_pkey PRIMARY KEY (watch_id, key);

ALTER TABLE ONLY sidecar_internal.index_failures
    ADD CONSTRAINT index_failures_pkey PRIMARY KEY (watch_id);

ALTER TABLE ONLY sidecar_internal.labels
    ADD CONSTRAINT labels_pkey PRIMARY KEY (watch_id, label);

ALTER TABLE ONLY sidecar_internal.progress
    ADD CONSTRAINT progress_pkey PRIMARY KEY (watch_id);

ALTER TABLE ONLY sidecar_internal.query_servers
    ADD CONSTRAINT query_servers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sidecar_internal.query_vectors
    ADD CONSTRAINT query_vectors_fingerprint_kind_digest_key UNIQUE (fingerprint, kind, digest);

ALTER TABLE ONLY sidecar_internal.query_vectors
    ADD CONSTRAINT query_vectors_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sidecar_internal.recalls
    ADD CONSTRAINT recalls_pkey PRIMARY KEY (watch_id, ef_search);

ALTER TABLE ONLY sidecar_internal.scans
    ADD CONSTRAINT scans_pkey PRIMARY KEY (watch_id, purpose);

ALTER TABLE ONLY sidecar_internal.sidecars
    ADD CONSTRAINT sidecars_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sidecar_internal.wake
    ADD CONSTRAINT wake_pkey PRIMARY KEY (sidecar_id);

ALTER TABLE ONLY sidecar_internal.watches
    ADD CONSTRAINT watches_pkey PRIMARY KEY (id);

CREATE INDEX query_vectors_unanswered ON sidecar_internal.query_vectors USING btree (id) WHERE (content IS NOT NULL);

CREATE UNIQUE INDEX watches_companion ON sidecar_internal.watches USING btree (companion);

CREATE UNIQUE INDEX watches_home ON sidecar_internal.watches USING btree (COALESCE((companion)::oid, (relation)::oid), target);

CREATE UNIQUE INDEX watches_target ON sidecar_internal.watches USING btree (relation, target);

ALTER TABLE ONLY sidecar_internal.failures
    ADD CONSTRAINT failures_watch_id_fkey FOREIGN KEY (watch_id) REFERENCES sidecar_internal.watches(id) ON DELETE CASCADE;

ALTER TABLE ONLY sidecar_internal.index_failures
    ADD CONSTRAINT index_failures_watch_id_fkey FOREIGN KEY (watch_id) REFERENCES sidecar_internal.watches(id) ON DELETE CASCADE;

ALTER TABLE ONLY sidecar_internal.labels
    ADD CONSTRAINT labels_watch_id_fkey FOREIGN KEY (watch_id) REFERENCES sidecar_internal.watches(id) ON DELETE CASCADE;

ALTER TABLE ONLY sidecar_internal.progress
    ADD CONSTRAINT progress_watch_id_fkey FOREIGN KEY (watch_id) REFERENCES sidecar_internal.watches(id) ON DELETE CASCADE;

ALTER TABLE ONLY sidecar_internal.recalls
    ADD CONSTRAINT recalls_watch_id_fkey FOREIGN KEY (watch_id) REFERENCES sidecar_internal.watches(id) ON DELETE CASCADE;

ALTER TABLE ONLY sidecar_internal.scans
    ADD CONSTRAINT scans_watch_id_fkey FOREIGN KEY (watch_id) REFERENCES sidecar_internal.watches(id) ON DELETE CASCADE;

REVOKE ALL ON FUNCTION sidecar.backlog(model text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.disable_embed() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.embed(content bytea, target text, timeout_ms integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.embed(content text, target text, timeout_ms integer) FROM PUBLIC;

REVOKE ALL ON PROCEDURE sidecar.embed(IN content bytea, INOUT vector public.vector, IN target text, IN timeout_ms integer) FROM PUBLIC;

REVOKE ALL ON PROCEDURE sidecar.embed(IN content text, INOUT vector public.vector, IN target text, IN timeout_ms integer) FROM PUBLIC;

REVOKE ALL ON PROCEDURE sidecar.enable_embed(IN server text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.grant_reader(role regrole) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.grant_worker(role regrole) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.hybrid_search(relation regclass, query_vector public.vector, query_text text, target text, document text[], k integer, filter jsonb, config regconfig, candidates integer, rrf_constant integer, vector_weight double precision, text_weight double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.installation(OUT revision text, OUT code_digest text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.labels(relation regclass, target text, only_key jsonb, at_least double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.pause(relation regclass, target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.recall(relation regclass, target text, k integer, sample integer, filter jsonb, ef_search integer[], max_s double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.reembed(relation regclass, target text, model text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.renew_triggers(watch_id integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.resume(relation regclass, target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.retry(relation regclass, target text, key jsonb, reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.revoke_grants(role regrole) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.search(relation regclass, query_vector text, target text, k integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.search(relation regclass, query_vector text, filter jsonb, target text, k integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.search_exposed(relation regclass, query_vector real[], target text, k integer, filter jsonb, columns text[], document text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.search_page(relation regclass, query_vector real[], target text, k integer, filter jsonb, columns text[], document text[], skip integer, after jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.search_targets(relation regclass, query_vector text, targets text[], k integer, filter jsonb, columns text[], document text[], weights double precision[], candidates integer, rrf_constant integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.set_labels(relation regclass, labels text[], target text, template text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.set_rate(relation regclass, target text, rows_per_s double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.status_of(only_relation regclass, exact boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.status_exact(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.truncated_texts(relation regclass, target text, max_rows integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.uninstall(force boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.unreadable_texts(relation regclass, target text, max_rows integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.unwatch(relation regclass, target text, drop_target boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.verify(relation regclass, target text) FROM PUBLIC;

REVOKE ALL ON PROCEDURE sidecar.wait_embedded(IN relation regclass, IN key jsonb, IN target text, IN timeout_ms integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.watch(relation regclass, source text[], target text, kind text, companion text, dimensions integer, model text, index text, replace boolean, expose text[], storage text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.watch(relation regclass, source text, target text, kind text, companion text, dimensions integer, model text, index text, replace boolean, expose text[], storage text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.activate_queue(watch_id integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.add_target(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.advice_on(reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.advise_on_model(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.advise_on_storage(w sidecar_internal.watches, present text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.apply_renames(w sidecar_internal.watches, present sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.apply_settings(settings jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.backlog_of(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.base_type(INOUT type oid, INOUT modifier integer, OUT printed text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.can_serve(w sidecar_internal.watches, s sidecar_internal.sidecars) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.canonical_index(index text, target text, dimensions integer, storage text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.canonical_key(w sidecar_internal.watches, key jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.change_exposure(w sidecar_internal.watches, wanted text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.changes_unnamed(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_companion(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_exposed(relation regclass, expose text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_filter_values(type text, wanted text[], paths text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_index_method(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_key_types(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_labels(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_move_to(w sidecar_internal.watches, model text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_options(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_owner(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_query_server(fingerprint text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_relation(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_role(role regrole) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_row_exists(w sidecar_internal.watches, key jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_row_security(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_shown(watches sidecar_internal.watches[], shown text[], document text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.check_target_row(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.checked_watch(wanted sidecar_internal.watches, companion_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.collation_over_domain(a pg_attribute) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.columns_of(w sidecar_internal.watches, OUT readable text, OUT written text, OUT keys text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.columns_of_trigger(w sidecar_internal.watches, relation regclass, suffix text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.companion_is_gone(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.companion_name(relation regclass, companion text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.companion_values(w sidecar_internal.watches, row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.compared_type(w sidecar_internal.watches, OUT name text, OUT is_cast boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.cosine_class(method text, kind text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.count_foreign_vectors(w sidecar_internal.watches, at_most integer, OUT looked bigint, OUT foreign_vectors bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.count_leaf_indexes(w sidecar_internal.watches, OUT leaves bigint, OUT built bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.count_ledger(w sidecar_internal.watches, exact boolean, since_gen bigint, OUT entries bigint, OUT empty bigint, OUT failed bigint, OUT truncated bigint, OUT unreadable bigint, OUT updates bigint, OUT outdated bigint, OUT retrying bigint, OUT estimated boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.count_queue(w sidecar_internal.watches, since_gen bigint, OUT keys bigint, OUT known bigint, OUT updates bigint, OUT outdated bigint, OUT retrying bigint, OUT oldest timestamp with time zone, OUT estimated boolean, OUT truncates bigint, OUT is_emptied boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.count_rows(relation regclass, exact boolean, OUT n bigint, OUT estimated boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.count_unknown(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.count_vectors_without_row(w sidecar_internal.watches, at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.create_companion(w sidecar_internal.watches, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.create_companion_view(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.create_deletion_trigger(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.create_ledger(watch_id integer, key_definitions text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.create_queue(watch_id integer, key_definitions text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.create_register(watch_id integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.create_trigger(w sidecar_internal.watches, suffix text, event text, relation regclass, manner text, call text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.create_trigger_functions(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.create_triggers(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.dblink_schema() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.default_index_kind(method text, storage text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.default_storage(w sidecar_internal.watches, companion_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.delete_tombstones(watch_ids integer[], floors bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.delete_tombstones_v2(watch_ids integer[], floors bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.denial_of(w sidecar_internal.watches, role name) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.denials_of(w sidecar_internal.watches, role name) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.did_you_mean(wanted text, names text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.did_you_mean_column(wanted text, relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.difference(relation regclass, keys text[], columns text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.drop_foreign_triggers(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.drop_queue(watch_id integer, keep_ledger boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.drop_schemas() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.drop_target(w sidecar_internal.watches, limits record) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.drop_triggers(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.embed_connection_fault() FROM PUBLIC;

REVOKE ALL ON PROCEDURE sidecar_internal.embed_content(IN fingerprint text, IN kind text, IN content bytea, IN timeout_ms integer, INOUT answer real[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.embed_in_statement(fingerprint text, kind text, content bytea, timeout_ms integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.embed_over_connection(fingerprint text, kind text, content bytea, timeout_ms integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.embed_role() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.end_watch(watch_id integer, relation regclass, drop_target boolean, limits record) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.enqueue_emptied_companion() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.enqueue_lost_vectors() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.events_of_key(watch_id integer, key jsonb, only_times timestamp with time zone[], OUT gens bigint[], OUT times timestamp with time zone[], OUT is_own boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.exact_keys(w sidecar_internal.watches, vector_table regclass, row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.exactly(expected anyelement, value anyelement) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.exposed_by_all(watches sidecar_internal.watches[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.exposed_columns(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.exposed_document(w sidecar_internal.watches, columns text[], config regconfig) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.exposes_picture(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.failure_key(key jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.fault_of(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.filter_column(w sidecar_internal.watches, row_name text, column_name text, allowed text[], path text, OUT kind text, OUT type text, OUT printed text, OUT expression text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.filter_columns(w sidecar_internal.watches, row_name text, names text[], exposed boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.filter_comparison(c record, operator text, wanted text[], paths text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.filter_condition(w sidecar_internal.watches, filter jsonb, row_name text, allowed text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.filter_containment(c record, operator text, operand jsonb, path text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.filter_equality(c record, operand jsonb, is_list boolean, path text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.filter_node(w sidecar_internal.watches, node jsonb, row_name text, allowed text[], path text, depth integer, INOUT conditions integer, OUT condition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.filter_on_column(c record, asked jsonb, path text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.filter_operation(c record, operator text, operand jsonb, path text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.filter_values(operand jsonb, path text, may_be_null boolean, OUT wanted text[], OUT paths text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.find_first(watch_ids integer[], floors bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.find_index(vector_table regclass, target text, OUT index regclass, OUT valid boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.find_query_model(target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.find_unindexed(watch_ids integer[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.find_unreadable_filter_value(w sidecar_internal.watches, filter jsonb, OUT column_name text, OUT complaint text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.find_watch(relation regclass, target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.find_work(watch_ids integer[], floors bigint[], late bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.follow_changes(only_relation regclass, new_target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.for_each_key(columns text[], types text[], pattern text, separator text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.forget_watch(watch_id integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.former_indexes(w sidecar_internal.watches, OUT index regclass, OUT statement text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.found_column(relation regclass, row_name text, column_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.found_share(exact double precision[], near double precision[], k integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.free_generation(watch_id integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.generation_inputs(relation regclass, columns text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.get_watch(relation regclass, target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.grant_like(relation regclass, made regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.grant_queue(watch_id integer, role regrole) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.grant_schema(role regrole, kind text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.grant_schemas(w sidecar_internal.watches, role regrole) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.grant_table(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.graph_bytes(w sidecar_internal.watches, rows bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.has_long_queue(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.has_old_triggers(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.has_view(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.health_of(state text, index text, pending bigint, failed bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.highest_generation(queue text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.holds_build_lock(watch_id integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.horizon_floor(front bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.hybrid_exposed(relation regclass, target text, query_vector real[], query_text text, document text[], config text, k integer, filter jsonb, shown_columns text[], shown_document text[], candidates integer, rrf_constant integer, vector_weight double precision, text_weight double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.hybrid_exposed_statement(w sidecar_internal.watches, ranking text, columns text[], document text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.hybrid_ranking(w sidecar_internal.watches, document text, condition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.hybrid_statement(w sidecar_internal.watches, document text, condition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.index_argument(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.index_failure_of(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.index_key(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.index_name(w sidecar_internal.watches, vector_table regclass, replaced regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.index_of(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.index_of(w sidecar_internal.watches, builds jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.index_options(options text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.index_statement(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.index_steps(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.index_trouble(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.inherits(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.input_error(value text, type text, OUT message text, OUT sql_error_code text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.input_error_of_cast(value text, type text, OUT message text, OUT sql_error_code text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.install_watch(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.installer() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_answering(server uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_denied_to_all(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_domain_over(type regtype, wanted regtype) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_done(w sidecar_internal.watches, key jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_embed_enabled() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_intact(w sidecar_internal.watches, key_columns text[], key_types text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_our_index(w sidecar_internal.watches, name text, method text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_own_uncommitted(row_xmin xid) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_same_watch(a sidecar_internal.watches, b sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_subscribed(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_waiting(watch_id integer, gens bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.is_worked_on(vector_table regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.ivfflat_lists(rows bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.keep_recall(w sidecar_internal.watches, k integer, measured jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.key_fault(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.key_fields(w sidecar_internal.watches, row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.key_type_fault(type oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.keys_fit(w sidecar_internal.watches, row_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.kind_of_column(relation regclass, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.kind_of_source(relation regclass, source text[], kind text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.larger_index_statement(w sidecar_internal.watches, index regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.letter_pairs(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.lists_of(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.lock_table(relation regclass, mode text, limits record) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.lost_target_statement(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.mark_asleep(asleep integer[], for_s double precision, awake integer[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.may_call(kind text, function oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.may_count(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.measured_index(w sidecar_internal.watches, OUT id oid, OUT file oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.move_page(watch_id integer, max_rows integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.nearest_distances(w sidecar_internal.watches, through_index boolean, condition text, query_vector text, k integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.nearest_ranking(w sidecar_internal.watches, condition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.notify_sleepers() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.numbered_key(w sidecar_internal.watches, key jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.options_to_build(w sidecar_internal.watches, vector_table regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.own_addresses() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.own_queue(watch_id integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.partition_lacks_trigger(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.pending_of(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.pgvector_fault() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.picture_of(relation regclass, target text, key jsonb, filter jsonb, only_failed boolean, max_bytes bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.prepare_embed_role() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.prepare_ledger(former sidecar_internal.watches, saved sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.prepare_scan(w sidecar_internal.watches, is_strict boolean, ef_search bigint, max_scan_tuples bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.present_columns(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.primary_key_of(relation regclass, OUT columns text[], OUT types text[], OUT definitions text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.query_model(named text, relation regclass, column_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.query_model_of(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.queue_of(watch_id integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.quoted_list(names text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.quoted_name(parts text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.raise_filter_fault(path text, complaint text, sqlstate text, hint text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.raise_generation() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.raise_in_use(relation regclass, companion regclass, watch_id integer, own_timeout text, began timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.read_answer(id bigint, fingerprint text, began timestamp with time zone, deadline timestamp with time zone, OUT vector real[], OUT is_gone boolean, OUT pause_s double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.read_horizon(OUT drawn bigint, OUT next_xid text, OUT in_flight text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.read_index_options(options text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.read_name(word text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.read_number(value text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.recalls_of(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.release_companion(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.release_tables(w sidecar_internal.watches, limits record) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.remains_in(w sidecar_internal.watches, home regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.remains_of(w sidecar_internal.watches, with_all boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.remains_of_all() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.rename_former_target(relation regclass, new_target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.rename_ledger(watch_id integer, present text, wanted text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.renew_grants() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.renumber_events(watch_id integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.report_breakage(watch_id integer, code text, message text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.report_former_indexes(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.report_remains(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.request_vector(fingerprint text, kind text, content bytea, timeout_ms integer, OUT id bigint, OUT vector real[], OUT deadline timestamp with time zone, OUT pause_s double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.retry_helps(reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.retype_ledger(watch_id integer, former_types text[], wanted_types text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.revoke_table(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.rls_hides(relation regclass, role name) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.roles() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.row_vectors(relation regclass, target text, keys jsonb[], filter jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.rows_statement(w sidecar_internal.watches, reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.running_builds() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.sample_rows(relation regclass, target text, at_most integer, filter jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.sample_rows_per_page(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.sample_source(w sidecar_internal.watches, rows bigint, sample_rows integer, head_bytes integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.sample_vectors(w sidecar_internal.watches, sample integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.save_watch(wanted sidecar_internal.watches, former sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.scan_setting(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.scan_setting_statement(setting text, value integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.search_document(relation regclass, columns text[], config regconfig) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.search_page_statement(w sidecar_internal.watches, columns text[], filter jsonb, document text[], after boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.search_statement(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.search_targets_statement(watches sidecar_internal.watches[], filter jsonb, columns text[], document text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.searchable_columns(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.sees_truncate(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.serving_roles() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.session_setting(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.set_embed_server(address text, password text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.set_paused(relation regclass, target text, paused boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.show_row(w sidecar_internal.watches, key jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.shown_value(relation regclass, column_name text, expression text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.start_move(former sidecar_internal.watches, saved sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.start_scan(watch_id integer, purpose text, force boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.start_sweeps(watch_ids integer[], interval_s double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.start_watch(wanted sidecar_internal.watches, former sidecar_internal.watches, companion_name text, limits record) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.state_of(w sidecar_internal.watches, pending bigint, failed bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.state_of_row(watch_id integer, key jsonb, OUT state text, OUT reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.state_of_watch(watch_id integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.storage_of(relation regclass, column_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.stored_type(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.structure_fault(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.structure_fault_v2(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.summarized_recall(measured jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.sync_companion(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.table_problem(relation regclass, OUT message text, OUT hint text, OUT code text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.takes_model(w sidecar_internal.watches, model text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.target_is_missing(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.texts_with(flag text, relation regclass, target text, max_rows integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.tree_of(relation regclass, OUT home regclass, OUT parent regclass, OUT is_leaf boolean, OUT level integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.triggers_fit(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.triggers_of(w sidecar_internal.watches, OUT name name, OUT relation regclass, OUT for_row boolean, OUT names_columns boolean, OUT fires boolean, OUT compares_safely boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.try_index_options(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.try_watch(wanted sidecar_internal.watches, companion_name text, replace boolean, limits record) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.typed_key(w sidecar_internal.watches, parameter text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.unreadable_columns(w sidecar_internal.watches, role name) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.usable_indexes(w sidecar_internal.watches, vector_table regclass, OUT index regclass, OUT valid boolean, OUT parent regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.used_by_others() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.usual_ef_search() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.usual_recall_of(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.usual_setting(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.values_to_measure(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.vector_schema() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.wait_limits(OUT tries integer, OUT theirs text, OUT ours text, OUT own text, OUT began timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.wait_one_embedded(w sidecar_internal.watches, key jsonb, deadline timestamp with time zone, timeout_ms integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.wake_sleepers(watch_id integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.warn_of_dimensions(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.warn_of_old_pgvector() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.warn_of_updates(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.watch_statement(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.watch_to_end(relation regclass, target text, drop_target boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.watches_meant(relation regclass, target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.watches_of_targets(relation regclass, targets text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.with_index(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.with_present_names(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.without_picture(w sidecar_internal.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar_internal.word_query(config regconfig, query_text text) FROM PUBLIC;
