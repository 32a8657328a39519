-- The status says which rows are to be embedded again, which failed ones are being tried again, and how a watch is in one word.

-- The last generation that was drawn before the scan began: while all rows are embedded again, a ledger entry above it has been.
-- NULL: unknown.
alter table sidecar_internal.scans add column start_gen bigint;

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
                   null::double precision as rows_per_s, null::regclass as companion_view, null::bigint as unreadable where false;
    end if;
end $$;
drop function if exists sidecar_internal.status_of(regclass, boolean), sidecar_internal.count_ledger(sidecar_internal.watches, boolean),
    sidecar_internal.count_queue(sidecar_internal.watches), sidecar_internal.state_of(sidecar_internal.watches, bigint);
