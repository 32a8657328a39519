-- sidecar.wait_embedded. Readers call it: the row is looked for with their rights, ledger and events are read with ours.

-- True if a visible row version was written by our own, still open transaction.
create or replace function sidecar_internal.is_own_uncommitted(row_xmin xid) returns boolean
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

-- Waits until the row's present content is in its vector, for one target or for all of the table's. Raises
--   55000  in the transaction that wrote the row (no other session sees it yet), or under REPEATABLE READ and above
--   02000  if there is no such row
--   SC001  after timeout_ms
--   SC002  if the row cannot be embedded: the message says why
create or replace procedure sidecar.wait_embedded(relation regclass, key jsonb, target text default null, timeout_ms integer default 5000)
language plpgsql set search_path = pg_catalog, pg_temp as $$
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
comment on procedure sidecar.wait_embedded is
    'Waits until the vector of a row is that of its present content. Call it after COMMIT. Raises SC001 after timeout_ms, SC002 if the '
    'row cannot be embedded, 02000 if there is no such row.';

-- Follows the events of the key that are visible now until they are gone: through leases, delays, and the new generations that
-- delayed events get. Comparing generations would not do: they do not order contents. An edit takes its generation before it
-- commits, and a scan may meanwhile take a higher one and read the old content.
create or replace function sidecar_internal.wait_one_embedded(w sidecar_internal.watches, key jsonb, deadline timestamptz, timeout_ms integer)
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
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

-- True if the ledger is current for a row without queued events. Raises if the row cannot be embedded.
create or replace function sidecar_internal.is_done(w sidecar_internal.watches, key jsonb) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
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

-- Raises if the row does not exist, with the caller's own rights and under their row-level security.
create or replace function sidecar_internal.check_row_exists(w sidecar_internal.watches, key jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
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
end $$;

-- Readers call the functions below, which run with the rights of the installer, because ledger and events are closed to readers.
-- They take the id of a watch, not its row: invented values must not reach a statement. They return whether a row is done, never
-- a hash: that of a short content would give the content away.

-- The events of a key, including those of a TRUNCATE: their generations, by which they are found until they get others, and
-- their times, which they keep; NULL if there are none. `only_times` restricts the result to these. `is_own`: this very
-- transaction created one. Sequential scans of events_N and delayed_N.
create or replace function sidecar_internal.events_of_key(watch_id integer, key jsonb, only_times timestamptz[] default null,
                                                 out gens bigint[], out times timestamptz[], out is_own boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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
end $$;

-- True if one of these generations is still in the queue. By the primary keys.
create or replace function sidecar_internal.is_waiting(watch_id integer, gens bigint[]) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    is_one boolean;
begin
    if gens is null or not exists (select from sidecar_internal.watches x where x.id = watch_id and x.unwatched_at is null) then
        return false;
    end if;
    execute format('select exists (select from sidecar_internal.events_%1$s t where t.gen = any ($1))
                        or exists (select from sidecar_internal.delayed_%1$s t where t.gen = any ($1))', watch_id) into is_one using gens;
    return is_one;
end $$;

-- The state of a row without queued events: 'done' (embedded, or nothing to embed), 'failed' and why, or NULL: it has not been
-- processed yet, or its ledger entry is void.
create or replace function sidecar_internal.state_of_row(watch_id integer, key jsonb, out state text, out reason text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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
end $$;

-- The state of one watch, for readers.
create or replace function sidecar_internal.state_of_watch(watch_id integer) returns text
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select sidecar_internal.state_of(w, 1) from sidecar_internal.watches w where w.id = watch_id;
$$;
