-- Watches may store their vectors as halfvec, in half the bytes.
alter table sidecar_internal.watches
    add column storage text not null default 'vector' check (storage in ('vector', 'halfvec'));

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
                   null::bigint as outdated, null::bigint as retrying, null::text as health where false;
    end if;
end $$;
drop function if exists sidecar_internal.status_of(regclass, boolean);

-- Functions that take another argument: today's code creates them again.
drop function if exists sidecar.watch(regclass, text[], text, text, text, integer, text, text, boolean, text[]),
    sidecar.watch(regclass, text, text, text, text, integer, text, text, boolean, text[]),
    sidecar_internal.check_options(text, text[], integer, text);
