-- What an operator says to a watch from psql: pause, resume, retry, reembed.

-- The user's key in the form that we store: {"id": "7"} is {"id": 7}. Raises for a key with other columns. Settings are
-- those of the sidecar's sessions, because some types print differently under others.
create function sidecar.canonical_key(w sidecar.watches, key jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, YMD' set intervalstyle = 'postgres' set timezone = 'UTC' set bytea_output = 'hex' as $$
declare
    canonical jsonb;
begin
    if jsonb_typeof(key) is distinct from 'object' or (select array_agg(k order by k) from jsonb_object_keys(key) k)
            is distinct from (select array_agg(c order by c) from unnest(w.key_columns) c) then
        raise exception 'key % does not name the key columns of %', coalesce(key::text, 'NULL'), w.relation
            using errcode = 'invalid_parameter_value',
                  hint = format('Say: key => ''{%s}''', (select string_agg(to_json(c) || ': …', ', ') from unnest(w.key_columns) c));
    end if;
    execute format('select jsonb_build_object(%s)', sidecar.for_each_key(w.key_columns, w.key_types, '%2$L, ($1->>%2$L)::%3$s'))
        into canonical using key;
    return canonical;
end $$;

create function sidecar.set_paused(relation regclass, target text, paused boolean) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    changed integer;
begin
    if target is not null or (relation is not null and not exists (
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

-- One watch, all watches of a table, or (no arguments) all. Returns how many it changed. Waits for completes in hand, a
-- few ms.
create function sidecar.pause(relation regclass default null, target text default null) returns integer
language sql set search_path = pg_catalog, pg_temp as $$ select sidecar.set_paused(relation, target, true) $$;

create function sidecar.resume(relation regclass default null, target text default null) returns integer
language sql set search_path = pg_catalog, pg_temp as $$ select sidecar.set_paused(relation, target, false) $$;

-- Enqueues failed rows again: one key, one reason, or all. Returns how many. It only inserts events: the failures are
-- deleted when the rows are done.
create function sidecar.retry(relation regclass, target text default null, key jsonb default null, reason text default null)
returns bigint language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches := sidecar.need_watch(relation, target);
    wanted_key jsonb := case when key is not null then sidecar.canonical_key(w, key) end;
    enqueued bigint;
begin
    execute format('insert into sidecar.events_%s (%s, force) select %s, true from sidecar.dead_letters d
                    where d.watch_id = $1 and ($2 is null or d.key = $2) and ($3 is null or d.reason = $3)',
        w.id, sidecar.for_each_key(w.key_columns, null, 'k%1$s'),
        sidecar.for_each_key(w.key_columns, w.key_types, '(d.key->>%2$L)::%3$s'))
        using w.id, wanted_key, reason;
    get diagnostics enqueued = row_count;
    if enqueued > 0 then
        perform sidecar.wake_sleepers();
    end if;
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
    if reembed.model not in (coalesce(w.fingerprint, ''), coalesce(w.encoder, '')) then
        update sidecar.watches x set fingerprint = null, encoder = null, model = nullif(reembed.model, 'any') where x.id = w.id;
        if w.fingerprint is not null then
            perform sidecar.start_scan(w.id, 'clear');
        end if;
    end if;
    perform sidecar.start_scan(w.id, 'backfill', force => true);
    perform pg_notify('sidecar_watches', '');
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
    for w in select x.id, x.truncated_gen from sidecar.watches x loop
        used := greatest(used, w.truncated_gen);
        for found_gen in select sidecar.highest_generation(format('sidecar.%s_%s', t, w.id))
                         from unnest(array['ledger', 'events', 'delayed']) t loop
            used := greatest(used, found_gen);
        end loop;
    end loop;
    -- A margin, because others draw from the sequence between our look at it and setval.
    perform setval('sidecar.generation', used + 100000) 
        from sidecar.generation s where used > case when s.is_called then s.last_value else s.last_value - 1 end;
    return used;
end $$;

-- NULL where the table is empty or missing.
create function sidecar.highest_generation(queue text) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    highest bigint;
begin
    if to_regclass(queue) is not null then
        execute format('select max(q.gen) from %s q', to_regclass(queue)) into highest;
    end if;
    return highest;
end $$;

revoke all on all functions in schema sidecar from public;
