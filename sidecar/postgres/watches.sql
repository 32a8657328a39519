-- Loads watches and keeps their rows up to date: statements of watches.py and of ingest's catalogue.

-- name: load_watches
-- Sequential scan of a small table; no locks. `relation` is NULL where the watched table is gone.
select w.id, case when c.oid is not null then format('%I.%I', n.nspname, c.relname) end as relation,
       coalesce(c.relkind = 'p', false) as is_partitioned,
       (select array_agg(quote_ident(u.c) order by u.i) from unnest(w.key_columns) with ordinality u(c, i)) as key_columns,
       (select array_agg(quote_literal(u.c) order by u.i) from unnest(w.key_columns) with ordinality u(c, i)) as key_literals,
       w.key_types, keys.builtin as key_builtin, keys.domains as key_domains, keys.companion_domains as companion_key_domains,
       keys.collations as key_collations, keys.companion_collations as companion_key_collations,
       array(select format_type(a.atttypid, null) from unnest(w.source) with ordinality u(c, i)
             join pg_attribute a on a.attrelid = w.relation and a.attname = u.c order by u.i) as source_types,
       array(select b.type = 'bpchar'::regtype from unnest(w.source) with ordinality u(c, i)
             join pg_attribute a on a.attrelid = w.relation and a.attname = u.c
             cross join sidecar_internal.base_type(a.atttypid, a.atttypmod) b order by u.i) as source_is_padded,
       w.kind, w.dimensions, w.storage, w.index_kind, w.model, w.fingerprint, w.paused,
       -- Running sidecars that can serve the watch share its cap. They are only counted where there is one: while an old snapshot is
       -- open, the table has a dead row for each heartbeat.
       case when w.rows_per_s is not null then
           w.rows_per_s / greatest(1, (select count(*) from sidecar_internal.sidecars s where s.seen_at > now() - interval '30 s'
               and s.dimensions = w.dimensions and s.fingerprint = coalesce(w.fingerprint, s.fingerprint))) end as rows_per_s,
       (select array_agg(quote_ident(u.c) order by u.i) from unnest(w.source) with ordinality u(c, i)) as source,
       quote_ident(w.target) as target, w.target as target_name,
       array(select a.attnum from unnest(w.key_columns || w.source) with ordinality u(c, i)
             join pg_attribute a on a.attrelid = w.relation and a.attname = u.c order by u.i) as column_numbers,
       (select a.attnum from pg_attribute a where a.attrelid = coalesce(w.companion, w.relation) and a.attname = w.target) as target_number,
       case when cc.oid is not null then format('%I.%I', cn.nspname, cc.relname) end as companion,
       w.companion is not null as has_companion,
       coalesce(w.broken, (select string_agg(b.code || ': ' || b.message, '; ') from sidecar_internal.breakages b where b.watch_id = w.id),
                sidecar_internal.structure_fault_v2(w), sidecar_internal.denial_of(w, current_user)) as broken,
       quote_ident(sidecar_internal.vector_schema()) as vector_schema,
       coalesce((select array_agg(s.purpose) from sidecar_internal.scans s where s.watch_id = w.id and s.finished_at is null), '{}') as scans
from sidecar_internal.watches w
left join pg_class c on c.oid = w.relation
left join pg_namespace n on n.oid = c.relnamespace
left join pg_class cc on cc.oid = w.companion
left join pg_namespace cn on cn.oid = cc.relnamespace
cross join lateral (
    -- The cast from text to regclass cannot read everything its output function writes, such as the OID of a dropped table.
    select array_agg(coalesce(k.atttypid < 16384 and k.atttypid <> 'regclass'::regtype, false) order by u.i) as builtin,
           array_agg(case when t.typtype = 'd' then format_type(t.oid, null) end order by u.i) as domains,
           array_agg(case when ct.typtype = 'd' then format_type(ct.oid, null) end order by u.i) as companion_domains,
           array_agg(sidecar_internal.collation_over_domain(a) order by u.i) as collations,
           array_agg(sidecar_internal.collation_over_domain(ca) order by u.i) as companion_collations
    from unnest(w.key_columns) with ordinality u(c, i)
    left join pg_attribute k on k.attrelid = to_regclass(format('sidecar_internal.events_%s', w.id)) and k.attname = format('k%s', u.i)
    left join pg_attribute a on a.attrelid = w.relation and a.attname = u.c left join pg_type t on t.oid = a.atttypid
    left join pg_attribute ca on ca.attrelid = w.companion and ca.attname = u.c left join pg_type ct on ct.oid = ca.atttypid
) keys
where w.unwatched_at is null
order by w.id

-- name: follow_changes
-- Applies renames of columns, and ends watches whose table was dropped. Skips what is locked until the next call.
select * from sidecar_internal.follow_changes()

-- name: pin_fingerprint
-- Compare-and-set: the first vector decides the vector space of a watch. Waits for completions in flight; does nothing while
-- old vectors are being cleared.
update sidecar_internal.watches w set fingerprint = $2, encoder = $3
where w.id = $1 and w.fingerprint is null and (w.model is null or w.model in ($2, $3))
  and not exists (select from sidecar_internal.scans s where s.watch_id = w.id and s.purpose = 'clear' and s.finished_at is null)
returning w.id

-- name: read_fingerprint
-- Primary key.
select w.fingerprint from sidecar_internal.watches w where w.id = $1 and w.unwatched_at is null

-- name: missing_right
-- The right that this role lacks to work on a watch, or NULL.
select sidecar_internal.denial_of(w, current_user) from sidecar_internal.watches w where w.id = $1

-- name: mark_broken
-- Primary key; locks the row of the watch.
update sidecar_internal.watches w set broken = $2 where w.id = $1 and w.unwatched_at is null and w.broken is distinct from $2
