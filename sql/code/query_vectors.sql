-- Requests for query vectors, as sessions make them and as sidecars answer them. The states of a request are drawn in
-- sql/tables/0024_query_vectors.sql; sidecar/postgres/query_requests.sql has the sidecars' statements.

-- True if that sidecar answers queries: it holds a lock as long as its session lives. The lock is taken until the end of the
-- transaction if the sidecar is dead.
create or replace function sidecar_internal.is_answering(server uuid) returns boolean
language sql volatile set search_path = pg_catalog, pg_temp as $$
    select not pg_try_advisory_xact_lock_shared(hashtextextended('sidecar.queries.' || server::text, 0));
$$;

-- Raises unless a sidecar with that fingerprint answers queries, or did a few seconds ago and has not signed off: it may only have
-- lost its connection, and be back at once.
create or replace function sidecar_internal.check_query_server(fingerprint text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
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

-- Asks for the vector of a content, or finds it: `vector` if it is known, else the `id` to ask read_answer for once this
-- transaction is committed. Both are NULL if another transaction has just asked for the same: call it again in a new one.
create or replace function sidecar_internal.request_vector(
    fingerprint text, kind text, content bytea, timeout_ms integer,
    out id bigint, out vector real[], out deadline timestamptz, out pause_s double precision)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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

-- The answer to a request, or NULL with the time to wait before asking again: about a tenth of the wait so far. `is_gone` if the
-- request is not there any more. Raises SC001 after the deadline, SC002 if the content cannot be embedded, SC003 if no sidecar is
-- left that could, 53000 if too many wait.
create or replace function sidecar_internal.read_answer(
    id bigint, fingerprint text, began timestamptz, deadline timestamptz,
    out vector real[], out is_gone boolean, out pause_s double precision)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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

-- Embeds a content within timeout_ms. Commits: it cannot be called in a transaction block. Invoked with the caller's search_path,
-- because a procedure that commits can have no settings of its own: it uses no operators and calls by full name.
create or replace procedure sidecar_internal.embed_content(fingerprint text, kind text, content bytea, timeout_ms integer, inout answer real[])
language plpgsql as $$
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
