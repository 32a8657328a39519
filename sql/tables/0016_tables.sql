-- The tables that all watches share: what the migrations 0001 to 0016 had made of them. Tables of one watch (events_N,
-- delayed_N, ledger_N) are made by sidecar.watch; functions and views stand in sql/code.
-- The schema itself is made by the migration environment, because the version table lives in it.

do $$
begin
    if not exists (select from pg_extension where extname = 'vector') then
        if not exists (select from pg_available_extensions where name = 'vector') then
            raise exception 'pgvector is not installed on this server' using errcode = 'undefined_object',
                hint = 'Install it (packages are called postgresql-18-pgvector or the like; '
                       'the image pgvector/pgvector has it), then run this again.';
        end if;
        create extension vector;
    end if;
end $$;

-- Every event takes its generation here. CACHE 1: a cached range would hand out generations out of commit order.
create sequence sidecar.generation as bigint cache 1;

-- One row per watched (table, target). A row outlives unwatch (`unwatched_at`), so that watching again finds the ledger.
create table sidecar.watches (
    id                integer generated always as identity primary key,
    relation          regclass    not null,
    key_columns       text[]      not null,
    key_types         text[]      not null,           -- as format_type prints them, schema-qualified
    kind              text        not null check (kind in ('text', 'image')),
    source            text[]      not null check (cardinality(source) >= 1),
    target            text        not null,
    companion         regclass,                       -- NULL: the vector stands in the watched row
    dimensions        integer     not null check (dimensions between 1 and 16000),
    index_kind        text        not null check (index_kind in ('halfvec', 'vector', 'none')),
    model             text,                           -- model id or fingerprint the user asked for; NULL: any
    fingerprint       text,                           -- the space of the stored vectors; NULL until the first one
    encoder           text,                           -- id of the model that made them
    truncated_gen     bigint      not null default 0, -- results at or below it were overtaken: by a TRUNCATE, or by watching again
    paused            boolean     not null default false,
    broken            text,                           -- why the sidecar leaves this watch alone
    created_at        timestamptz not null default now(),
    unwatched_at      timestamptz,
    companion_view    regclass,                       -- joins watched table and companion; NULL: there is none
    moved_from        regclass,                       -- the former home of the vectors, which still has them
    moved_fingerprint text,                           -- and their space: vectors of another one do not follow
    rows_per_s        double precision check (rows_per_s > 0),  -- the cap over all sidecars together; NULL: none
    -- Columns that POST /search shows. By name: a number would not survive a dump. One that was renamed is shown no more.
    expose            text[]      not null default '{}'
                      check (array_position(expose, null) is null and coalesce(array_ndims(expose), 1) = 1),
    check (cardinality(key_columns) >= 1 and cardinality(key_columns) = cardinality(key_types)),
    check (kind = 'text' or cardinality(source) = 1)
);
create unique index watches_target on sidecar.watches (relation, target);
-- Two watches must not write the same column, nor the same companion: they would delete each other's rows.
create unique index watches_home on sidecar.watches ((coalesce(companion::oid, relation::oid)), target);
create unique index watches_companion on sidecar.watches (companion);

-- Keyset scans over a watched table: `clear` old vectors, `move` them from a former home, `backfill` every row, `sweep` for
-- what no event told, `verify` contents and vectors. A page and the cursor behind it are committed together, so a crash
-- repeats nothing and skips nothing.
create table sidecar.scans (
    watch_id        integer     not null references sidecar.watches on delete cascade,
    purpose         text        not null check (purpose in ('clear', 'move', 'backfill', 'sweep', 'verify')),
    last_key        text[],                         -- NULL: from the start
    force           boolean     not null default false,
    started_at      timestamptz not null default now(),
    finished_at     timestamptz,
    rows_seen       bigint      not null default 0,
    bytes_seen      bigint      not null default 0,
    found           bigint      not null default 0,
    next_page_at    timestamptz not null default '-infinity',  -- all sidecars together keep to the bytes per second
    primary key (watch_id, purpose)
);

-- Rows that cannot be embedded as they are. Written and deleted by `complete` only.
create table sidecar.dead_letters (
    watch_id        integer     not null references sidecar.watches on delete cascade,
    key             jsonb       not null,
    gen             bigint      not null,
    attempts        smallint    not null,
    reason          text        not null check (reason ~ '^[a-z0-9_]+$'),
    message         text        not null,
    failed_at       timestamptz not null default now(),
    primary key (watch_id, key)
);

-- What a trigger could not do. Appended by users' transactions (never updated: two of them must not wait for each
-- other here), read by the sidecar, which marks the watch as broken.
create table sidecar.breakages (
    watch_id        integer     not null,
    code            text        not null,
    message         text        not null,
    at              timestamptz not null default clock_timestamp()
);
-- It has no key, and a publication FOR ALL TABLES would let nobody delete from it.
alter table sidecar.breakages replica identity full;

-- Who sleeps. Triggers notify only while one of these rows lies in the future. A row is written at most once per poll
-- interval, and expires by itself, so a sidecar that is killed in its sleep costs nothing for longer than that.
create table sidecar.wake (
    sidecar_id      uuid        primary key,
    asleep_until    timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);

-- Running sidecars: a heartbeat every few seconds.
create table sidecar.sidecars (
    id                  uuid        primary key,
    host                text        not null,
    pid                 integer     not null,
    version             text        not null,
    model               text        not null,
    fingerprint         text        not null,
    dimensions          integer     not null,
    started_at          timestamptz not null default now(),
    seen_at             timestamptz not null default clock_timestamp(),
    role                name        not null default current_user,  -- status tells what it lacks
    clock_skew_s        double precision,                           -- how far its clock is ahead of the server's
    texts_per_s         double precision,                           -- what its device does; NULL: not measured yet
    picture_views_per_s double precision
) with (fillfactor = 50, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);

-- Per watch, what the last completions looked like.
create table sidecar.progress (
    watch_id        integer     primary key references sidecar.watches on delete cascade,
    embedded_total  bigint      not null default 0,
    lag_ms          double precision,               -- commit to vector, mean of the last live completions
    updated_at      timestamptz not null default clock_timestamp()
) with (fillfactor = 50, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);
