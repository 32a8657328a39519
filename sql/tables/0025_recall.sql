-- What sidecar.recall last measured without a filter, for each value of hnsw.ef_search. Lines of one watch are of one index, of
-- one model's vectors and of one k: others are deleted when it is measured again.
create table sidecar_internal.recalls (
    watch_id integer not null references sidecar_internal.watches on delete cascade,
    ef_search integer not null,
    k integer not null,
    recall double precision not null,
    lowest double precision not null,
    queries bigint not null,
    index_ms double precision not null,
    exact_ms double precision not null,
    index_id oid not null,
    index_file oid, -- another one after a REINDEX; NULL for the index of a partitioned table
    fingerprint text,
    measured_by name not null default session_user,
    measured_at timestamptz not null default clock_timestamp(),
    primary key (watch_id, ef_search)
);

-- The view keeps its columns, without what it is made of, because others' views may be made of it; today's code brings both.
do $$
begin
    if to_regclass('sidecar.status') is not null then
        create or replace view sidecar.status as
            select null::regclass as relation, null::text as target, null::text as kind, null::text[] as source,
                   null::regclass as companion, null::text as state, null::bigint as rows, null::bigint as embedded,
                   null::bigint as pending, null::bigint as failed, null::bigint as empty, null::bigint as truncated,
                   null::numeric as coverage, null::interval as oldest_pending, null::double precision as lag_ms,
                   null::text as index, null::text as model, null::text as fingerprint, null::text as query,
                   null::boolean as estimated, null::integer as watch_id, null::text as index_statement,
                   null::double precision as rows_per_s, null::regclass as companion_view, null::bigint as unreadable,
                   null::bigint as outdated, null::bigint as retrying, null::text as health, null::text as storage where false;
    end if;
end $$;
drop function if exists sidecar_internal.status_of(regclass, boolean);
