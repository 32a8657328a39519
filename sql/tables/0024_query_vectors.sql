-- Query vectors in SQL: what sessions ask for, which once answered is the cache as well, and the sidecars that answer.
--
-- A request is in one of four states:
--     waiting   content, no taken_by
--     taken     content, taken_by: a sidecar embeds it. Waiting again if that sidecar dies
--     answered  vector: the cache, whose entries are deleted once they are the least recently used
--     failed    error and sqlstate: deleted after a few seconds, or when the same is asked for again
-- Both tables are unlogged: after a crash of the server they are empty, sidecars register again, and sessions ask again.
create unlogged table sidecar_internal.query_vectors (
    id bigint generated always as identity primary key,
    fingerprint text not null,
    kind text not null check (kind in ('text', 'image')),
    digest bytea not null check (octet_length(digest) = 32), -- SHA-256 of the content
    content bytea,
    deadline timestamptz not null,
    taken_by uuid,
    vector real[],
    error text,
    sqlstate text,
    used_at timestamptz not null default clock_timestamp(),
    unique (fingerprint, kind, digest),
    check (num_nonnulls(content, vector, error) = 1),
    check ((error is null) = (sqlstate is null))
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- Compressing floats and pictures only costs time.
alter table sidecar_internal.query_vectors alter column vector set storage external, alter column content set storage external;
create index query_vectors_unanswered on sidecar_internal.query_vectors (id) where content is not null;

create unlogged table sidecar_internal.query_servers (
    id uuid primary key,
    model text not null,
    fingerprint text not null,
    dimensions integer not null,
    answer_s double precision, -- what an answer takes of late; NULL before the first
    seen_at timestamptz not null default clock_timestamp()
);
