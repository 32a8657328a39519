-- Texts of which the model's tokenizer knows hardly a word. For a while this was part of 0017: what stands already is left alone.
do $$
declare
    ledger regclass;
begin
    for ledger in select c.oid from pg_class c
                  where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'r' and c.relname ~ '^(ledger|former)_[0-9]+$' loop
        execute format('alter table %s add column if not exists unreadable boolean not null default false', ledger);
    end loop;
end $$;

-- The status counts them. Its view stays, without what it stands on, for others' views may stand on it; today's code brings both.
do $$
begin
    if exists (select from pg_attribute a where a.attrelid = to_regclass('sidecar.status') and a.attname = 'unreadable') then
        return;
    end if;
    if to_regclass('sidecar.status') is not null then
        create or replace view sidecar.status as
            select null::regclass as relation, null::text as target, null::text as kind, null::text[] as source,
                   null::regclass as companion, null::text as state, null::bigint as rows, null::bigint as embedded,
                   null::bigint as pending, null::bigint as failed, null::bigint as empty, null::bigint as truncated,
                   null::numeric as coverage, null::interval as oldest_pending, null::double precision as lag_ms,
                   null::text as index, null::text as model, null::text as fingerprint, null::text as query,
                   null::boolean as estimated, null::integer as watch_id, null::text as index_statement,
                   null::double precision as rows_per_s, null::regclass as companion_view where false;
    end if;
    drop function if exists sidecar.status_of(regclass, boolean), sidecar.count_ledger(sidecar.watches, boolean);
end $$;
