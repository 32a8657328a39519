-- sidecar.wait_embedded, for readers too: the row is looked for with their own rights; ledger and events are ours to read.

-- Whether a row version that we can see was written by our own, still open transaction.
create or replace function sidecar.is_own_uncommitted(row_xmin xid) returns boolean
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
--   55000  in the transaction that wrote the row (nobody else sees it yet), or under REPEATABLE READ and above
--   02000  if there is no such row
--   SC001  after timeout_ms
--   SC002  if the row cannot be embedded: the message says why
create or replace procedure sidecar.wait_embedded(relation regclass, key jsonb, target text default null, timeout_ms integer default 5000)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
    deadline timestamptz := clock_timestamp() + make_interval(secs => timeout_ms / 1000.0);
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'wait_embedded cannot see what others commit under %', current_setting('transaction_isolation')
            using errcode = 'object_not_in_prerequisite_state', hint = 'Call it outside a transaction, or under READ COMMITTED.';
    elsif timeout_ms is null or timeout_ms < 0 then
        raise exception 'timeout_ms is %', coalesce(timeout_ms::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Give the longest wait in milliseconds, for example 5000.';
    end if;
    for w in select * from sidecar.watches x where x.relation = wait_embedded.relation and x.unwatched_at is null
             and (wait_embedded.target is null or x.target = wait_embedded.target) order by x.id loop
        perform sidecar.wait_one_embedded(w, sidecar.canonical_key(w, key), deadline, timeout_ms);
    end loop;
    if not found then
        perform sidecar.need_watch(relation, target);
    end if;
end $$;

create or replace function sidecar.wait_one_embedded(w sidecar.watches, key jsonb, deadline timestamptz, timeout_ms integer)
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    wanted_gen bigint;
    entry record;
    pause_s double precision := 0.002;
begin
    perform sidecar.check_row_exists(w, key); -- first, because unwatch locks the user's table before ours
    wanted_gen := sidecar.newest_event_of(w.id, key);
    loop
        -- Each statement of a READ COMMITTED transaction takes a new snapshot, so this sees what the sidecar commits.
        entry := sidecar.ledger_entry_of(w.id, key);
        if entry.gen >= coalesce(wanted_gen, 0) then
            perform sidecar.check_not_failed(w, key, entry.content_hash);
            return;
        end if;
        perform sidecar.check_row_exists(w, key);
        if clock_timestamp() >= deadline then
            raise exception 'row % of % was not embedded within % ms', key, w.relation, timeout_ms
                using errcode = 'SC001',
                      hint = format('The watch on %s: %s. See sidecar.status.', w.target, sidecar.state_of_watch(w.id));
        end if;
        perform pg_sleep(least(pause_s, greatest(0, extract(epoch from deadline - clock_timestamp()))));
        pause_s := least(pause_s * 1.5, 0.05);
    end loop;
end $$;

-- The generation that the ledger must reach; NULL if nothing is pending for the key. Raises for our own, uncommitted event.
create or replace function sidecar.newest_event(w sidecar.watches, key jsonb) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    newest bigint;
    own boolean;
begin
    execute format('select max(e.gen), bool_or(e.own) from (
                        select t.gen, sidecar.is_own_uncommitted(t.xmin) as own from sidecar.events_%1$s t where %2$s
                        union all select t.gen, false from sidecar.delayed_%1$s t where %2$s) e',
                   w.id, sidecar.key_condition(w, ours => true)) into newest, own using key;
    if own then
        raise exception 'row % of % was written in this transaction, which nobody else sees yet', key, w.relation
            using errcode = 'object_not_in_prerequisite_state', hint = 'Commit first, then call sidecar.wait_embedded.';
    end if;
    return newest;
end $$;

create or replace function sidecar.check_row_exists(w sidecar.watches, key jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    is_there boolean;
begin
    execute format('select exists (select from %s t where %s)', w.relation, sidecar.key_condition(w, ours => false))
        into is_there using key;
    if not is_there then
        raise exception 'table % has no row %', w.relation, key using errcode = '02000',
            hint = 'It may have been deleted, or inserted by a transaction that is still open.';
    end if;
end $$;

create or replace function sidecar.check_not_failed(w sidecar.watches, key jsonb, content_hash bytea) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if content_hash = 'failed' then
        raise exception 'row % of % cannot be embedded: %', key, w.relation,
                coalesce((select f.reason || ': ' || f.message from sidecar.failures f
                          where f.relation = w.relation and f.target = w.target and f.key = check_not_failed.key), 'unknown reason')
            using errcode = 'SC002', hint = 'Mend the row, or: select sidecar.retry(...). See sidecar.failures.';
    end if;
end $$;

create or replace function sidecar.newest_event_of(watch_id integer, key jsonb) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
begin
    select * into w from sidecar.watches x where x.id = watch_id and x.unwatched_at is null;
    return case when sidecar.has_its_types(w) then sidecar.newest_event(w, key) end;
end $$;

create or replace function sidecar.ledger_entry_of(watch_id integer, key jsonb, out gen bigint, out content_hash bytea)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches;
begin
    select * into w from sidecar.watches x where x.id = watch_id and x.unwatched_at is null;
    if sidecar.has_its_types(w) then
        execute format('select t.gen, t.content_hash
                        from sidecar.ledger_%s t join sidecar.watches x on x.id = $2 and t.gen > x.truncated_gen
                        where %s and t.content_hash is not null and not exists (select from sidecar.scans s
                            where s.watch_id = $2 and s.purpose = ''clear'' and s.finished_at is null)',
                       w.id, sidecar.key_condition(w, ours => true)) into gen, content_hash using key, w.id;
    end if;
end $$;

create or replace function sidecar.state_of_watch(watch_id integer) returns text
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select sidecar.state_of(w, 1) from sidecar.watches w where w.id = watch_id;
$$;
