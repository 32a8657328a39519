-- What an operator says to a watch from psql: pause, resume, retry, reembed, wait_embedded.

-- 'k1 = ($1->>''id'')::bigint and …': a condition on our key columns for a key given as jsonb in $1. Raises for another key.
create function sidecar.key_condition(w sidecar.watches, key jsonb) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if jsonb_typeof(key) is distinct from 'object'
       or (select array_agg(k order by k) from jsonb_object_keys(key) k) is distinct from (select array_agg(c order by c) from unnest(w.key_columns) c) then
        raise exception 'key % does not name the key columns of %', coalesce(key::text, 'NULL'), w.relation
            using errcode = 'invalid_parameter_value',
                  hint = format('Say: key => ''{%s}''', (select string_agg(format('"%s": …', c), ', ') from unnest(w.key_columns) c));
    end if;
    return (select string_agg(format('k%s = ($1->>%L)::%s', i, c, w.key_types[i]), ' and ' order by i)
            from unnest(w.key_columns) with ordinality as u(c, i));
end $$;

-- One watch, all watches of a table, or (no arguments) all. Returns how many it changed. Takes the watch rows FOR UPDATE:
-- waits for completes in hand, a few ms.
create function sidecar.pause(relation regclass default null, target text default null) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    return sidecar.set_paused(relation, target, true);
end $$;

create function sidecar.resume(relation regclass default null, target text default null) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    return sidecar.set_paused(relation, target, false);
end $$;

create function sidecar.set_paused(relation regclass, target text, paused boolean) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    changed integer;
begin
    if relation is not null and (target is not null or not exists (
            select from sidecar.watches w where w.relation = set_paused.relation and w.unwatched_at is null)) then
        perform sidecar.need_watch(relation, target);
    end if;
    update sidecar.watches w set paused = set_paused.paused
        where w.unwatched_at is null and w.paused is distinct from set_paused.paused
          and (set_paused.relation is null or w.relation = set_paused.relation)
          and (set_paused.target is null or w.target = set_paused.target);
    get diagnostics changed = row_count;
    perform pg_notify('sidecar_watches', '');
    return changed;
end $$;

-- Enqueues failed rows again: one key, one reason, or all. Returns how many. It only inserts events: the failures are
-- deleted when the rows are done.
create function sidecar.retry(relation regclass, target text default null, key jsonb default null, reason text default null) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches := sidecar.need_watch(relation, target);
    enqueued bigint;
begin
    if key is not null then
        perform sidecar.key_condition(w, key);
    end if;
    execute format('insert into sidecar.events_%s (%s, force) select %s, true from sidecar.dead_letters d
                    where d.watch_id = $1 and ($2 is null or d.key = $2) and ($3 is null or d.reason = $3)',
        w.id,
        (select string_agg('k' || i, ', ' order by i) from generate_subscripts(w.key_columns, 1) i),
        (select string_agg(format('(d.key->>%L)::%s', w.key_columns[i], w.key_types[i]), ', ' order by i) from generate_subscripts(w.key_columns, 1) i))
        using w.id, key, reason;
    get diagnostics enqueued = row_count;
    perform sidecar.wake_sleepers();
    return enqueued;
end $$;

-- All rows again. With `model` (a model id or a fingerprint other than the present one, or 'any' for whichever sidecar
-- comes first) the old vectors are cleared before the first new one is written: two spaces never stand in one column.
create function sidecar.reembed(relation regclass, target text default null, model text default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches := sidecar.need_watch(relation, target);
begin
    -- FOR UPDATE waits for completes in hand; later ones see the changed fingerprint and drop their vectors.
    select * into strict w from sidecar.watches x where x.id = w.id for update;
    if reembed.model is not null and reembed.model not in (coalesce(w.fingerprint, ''), coalesce(w.encoder, '')) then
        update sidecar.watches x set fingerprint = null, encoder = null, model = nullif(reembed.model, 'any') where x.id = w.id;
        if w.fingerprint is not null then
            perform sidecar.start_scan(w.id, 'clear');
        end if;
    end if;
    perform sidecar.start_scan(w.id, 'backfill', force => true);
    perform pg_notify('sidecar_watches', '');
end $$;

-- Whether a row version that we can see was written by our own, still open transaction.
create function sidecar.is_own_uncommitted(row_xmin xid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
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

-- Waits until the row's present content is in its vector: insert, commit, wait, search. Raises
--   55000  in the transaction that wrote the row (nobody else sees it yet), or under REPEATABLE READ and above
--   02000  if there is no such row
--   SC001  after timeout_ms
--   SC002  if the row cannot be embedded: the message says why
create procedure sidecar.wait_embedded(relation regclass, key jsonb, target text default null, timeout_ms integer default 5000)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
    watched boolean := false;
    deadline timestamptz := clock_timestamp() + make_interval(secs => timeout_ms / 1000.0);
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'wait_embedded cannot see what others commit under %', current_setting('transaction_isolation')
            using errcode = 'object_not_in_prerequisite_state', hint = 'Call it outside a transaction, or under READ COMMITTED.';
    end if;
    if target is not null then
        perform sidecar.need_watch(relation, target);
    end if;
    for w in select * from sidecar.watches x where x.relation = wait_embedded.relation and x.unwatched_at is null
             and (wait_embedded.target is null or x.target = wait_embedded.target) order by x.id loop
        watched := true;
        perform sidecar.wait_one_embedded(w, key, deadline, timeout_ms);
    end loop;
    if not watched then
        perform sidecar.need_watch(relation, target);
    end if;
end $$;

create function sidecar.wait_one_embedded(w sidecar.watches, key jsonb, deadline timestamptz, timeout_ms integer) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    condition text := sidecar.key_condition(w, key);
    user_condition text := (select string_agg(format('t.%I = ($1->>%L)::%s', c, c, w.key_types[i]), ' and ' order by i)
                            from unnest(w.key_columns) with ordinality as u(c, i));
    wanted_gen bigint;
    own boolean;
    entry record;
    row_exists boolean;
    pause_s double precision := 0.002;
begin
    execute format('select max(e.gen), bool_or(sidecar.is_own_uncommitted(e.xmin)) from sidecar.events_%s e where %s', w.id, condition)
        into wanted_gen, own using key;
    if own then
        raise exception 'row % of % was written in this transaction, which nobody else sees yet', key, w.relation
            using errcode = 'object_not_in_prerequisite_state', hint = 'Commit first, then call sidecar.wait_embedded.';
    end if;
    execute format('select greatest($2, max(e.gen)) from sidecar.delayed_%s e where %s', w.id, condition) into wanted_gen using key, wanted_gen;
    loop
        -- Each statement of a READ COMMITTED transaction takes a new snapshot, so this sees what the sidecar commits.
        execute format('select l.gen, l.content_hash from sidecar.ledger_%s l where %s', w.id, condition) into entry using key;
        if entry.gen is not null and (wanted_gen is null or entry.gen >= wanted_gen) and entry.content_hash is not null then
            if entry.content_hash = 'failed' then
                raise exception 'row % of % cannot be embedded: %', key, w.relation,
                    coalesce((select d.reason || ': ' || d.message from sidecar.dead_letters d where d.watch_id = w.id and d.key = wait_one_embedded.key), 'unknown reason')
                    using errcode = 'SC002', hint = 'Mend the row, or: select sidecar.retry(…). See sidecar.failures.';
            end if;
            return;
        end if;
        execute format('select exists (select from %s t where %s)', w.relation, user_condition) into row_exists using key;
        if not row_exists then
            raise exception 'table % has no row %', w.relation, key using errcode = 'no_data_found';
        end if;
        if clock_timestamp() >= deadline then
            raise exception 'row % of % was not embedded within % ms', key, w.relation, timeout_ms using errcode = 'SC001',
                hint = case when exists (select from sidecar.sidecars s where s.seen_at > clock_timestamp() - interval '30 s')
                       then 'It is still pending: see sidecar.status.' else 'No sidecar is running on this database.' end;
        end if;
        perform pg_sleep(least(pause_s, greatest(0, extract(epoch from deadline - clock_timestamp()))));
        pause_s := least(pause_s * 1.5, 0.05);
    end loop;
end $$;

-- Lifts the sequence above every generation in use. A restore of data without its sequence would otherwise hand out
-- generations below the ledger's, and every result would look overtaken. Called once at start.
create function sidecar.raise_generation() returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w record;
    used bigint := 0;
    found_gen bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('sidecar.raise_generation', 0));
    for w in select id, truncated_gen, unwatched_at from sidecar.watches loop
        used := greatest(used, w.truncated_gen);
        if to_regclass(format('sidecar.ledger_%s', w.id)) is not null then
            execute format('select max(gen) from sidecar.ledger_%s', w.id) into found_gen;
            used := greatest(used, found_gen);
        end if;
        if w.unwatched_at is null then
            execute format('select greatest((select max(gen) from sidecar.events_%1$s), (select max(gen) from sidecar.delayed_%1$s))', w.id) into found_gen;
            used := greatest(used, found_gen);
        end if;
    end loop;
    if used > (select case when is_called then last_value else last_value - 1 end from sidecar.generation) then
        perform setval('sidecar.generation', used);
    end if;
    return used;
end $$;

revoke all on all functions in schema sidecar from public;
revoke all on procedure sidecar.wait_embedded(regclass, jsonb, text, integer) from public;
