-- events_N, delayed_N and ledger_N of watch N. Key columns are called k1, k2 … here, so that no name of the user's can
-- clash with ours.

create function sidecar.create_queue(watch_id integer, key_definitions text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    keys text := sidecar.for_each_key(key_definitions, key_definitions, 'k%1$s %3$s');
begin
    -- "Bring this key up to date." Append-only, duplicates are fine; a NULL key is a TRUNCATE. The small fillfactor keeps
    -- leases HOT. The partial index holds the backfill's few outstanding events, so that its share of the claims need
    -- not be looked for behind a large live backlog.
    execute format($sql$
        create table sidecar.events_%1$s (
            gen bigint primary key default nextval('sidecar.generation'),
            %2$s,
            enqueued_at timestamptz not null default clock_timestamp(),
            backfill boolean not null default false,
            force boolean not null default false,
            lease_until timestamptz,
            lease_token uuid,
            attempts smallint not null default 0 check (attempts >= 0),
            check ((lease_until is null) = (lease_token is null))
        ) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
                autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
                autovacuum_vacuum_cost_delay = 0);
        create index events_%1$s_backfill on sidecar.events_%1$s (gen) where backfill;
        create table sidecar.delayed_%1$s (
            gen bigint primary key,
            %2$s,
            enqueued_at timestamptz not null,
            backfill boolean not null,
            force boolean not null,
            attempts smallint not null,
            run_at timestamptz not null
        );
        create index delayed_%1$s_run_at on sidecar.delayed_%1$s (run_at);
    $sql$, watch_id, keys);
end $$;

-- What the stored vector was made of. `content_hash` NULL is a tombstone: the row is gone, but a slower sidecar may still
-- hold an older event of it. The partial index counts and finds the exceptions; ordinary rows are not in it.
create function sidecar.create_ledger(watch_id integer, key_definitions text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    keys text := sidecar.for_each_key(key_definitions, key_definitions, 'k%1$s %3$s');
    key_names text := sidecar.for_each_key(key_definitions, null, 'k%1$s');
begin
    execute format($sql$
        create table sidecar.ledger_%1$s (
            %2$s,
            gen bigint not null,
            content_hash bytea check (octet_length(content_hash) = 32 or content_hash in ('empty', 'failed')),
            vector_digest bytea check (octet_length(vector_digest) = 32),
            truncated boolean not null default false,
            embedded_at timestamptz not null default clock_timestamp(),
            primary key (%3$s),
            check ((vector_digest is null) = (content_hash is null or octet_length(content_hash) < 32))
        ) with (fillfactor = 80);
        create index ledger_%1$s_exceptions on sidecar.ledger_%1$s (gen)
            where truncated or content_hash is null or octet_length(content_hash) < 32;
    $sql$, watch_id, keys, key_names);
end $$;

-- What is left of a watch when its triggers are gone. `keep_ledger`: watching the table again finds what it has done.
-- Ledger before events: the order in which sidecar.status reads them.
create function sidecar.drop_queue(watch_id integer, keep_ledger boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
begin
    if not keep_ledger then
        execute format('drop table if exists sidecar.ledger_%s', watch_id);
    end if;
    execute format('drop table if exists sidecar.events_%1$s, sidecar.delayed_%1$s', watch_id);
    execute format('drop function if exists sidecar.enqueue_%1$s_statement(), sidecar.enqueue_%1$s_row()', watch_id);
    delete from sidecar.dead_letters d where d.watch_id = drop_queue.watch_id;
    delete from sidecar.scans s where s.watch_id = drop_queue.watch_id;
    delete from sidecar.breakages b where b.watch_id = drop_queue.watch_id;
end $$;

-- Starts a scan from the first key, whatever became of an earlier one.
create function sidecar.start_scan(watch_id integer, purpose text, force boolean default false) returns void
language sql set search_path = pg_catalog, pg_temp as $$
    insert into sidecar.scans (watch_id, purpose, force) values (watch_id, purpose, force)
    on conflict (watch_id, purpose) do update
        set last_key = null, force = excluded.force or (scans.force and scans.finished_at is null),
            started_at = now(), finished_at = null;
$$;

revoke all on all functions in schema sidecar from public;
