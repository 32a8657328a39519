-- The checks of `sidecar doctor`. Each statement returns its findings:
--   severity 'problem' | 'warning' | 'note', subject, what, why, remedy, run_in 'psql' | 'shell'
-- $1, in statements that use it, is findings.Limits as jsonb. They only read, in read-only transactions of a few seconds, and
-- take no locks but those of a reader.

-- name: pgvector
-- pgvector missing, or with known faults in HNSW indexes. Catalog only.
select case when f.vector_schema is null then 'problem' else 'warning' end as severity, 'extension vector' as subject,
       case when f.vector_schema is null then 'pgvector is not installed in this database'
            else format('pgvector %s has known faults in HNSW indexes', f.version) end as what,
       case when f.vector_schema is null then 'no vector can be stored or compared'
            else 'before 0.8.4 VACUUM could leave rows out of an index: after the update, reindex the HNSW indexes' end as why,
       case when f.vector_schema is null and f.newest is null then 'apt-get install postgresql-' || f.server || '-pgvector'
            when f.vector_schema is null then 'create extension vector;'
            when f.newest <> f.version then 'alter extension vector update;'
            else 'apt-get install --only-upgrade postgresql-' || f.server || '-pgvector' end as remedy,
       case when f.newest is not distinct from f.version then 'shell' else 'psql' end as run_in
from (select e.extversion as version, n.nspname as vector_schema, a.default_version as newest,
             current_setting('server_version_num')::integer / 10000 as server
      from (select) nothing left join pg_extension e on e.extname = 'vector' left join pg_namespace n on n.oid = e.extnamespace
      left join pg_available_extensions a on a.name = 'vector') f
where f.vector_schema is null or string_to_array(substring(f.version from '^[0-9]+(?:[.][0-9]+)*'), '.')::integer[] < array[0, 8, 4]

-- name: read_only
-- The server is a standby, or the settings of this session make new transactions read-only. (The transaction of a check is
-- read-only in any case.)
select 'problem' as severity, 'this server' as subject, 'it is a standby, which accepts no writes until it is promoted' as what,
       'no vector is written here, and no sidecar can work' as why,
       format('export DATABASE_URL=''postgresql://PRIMARY:5432,STANDBY:5432/%s?target_session_attrs=read-write''', current_database()) as remedy,
       'shell' as run_in
where pg_is_in_recovery()
union all
select 'problem', 'default_transaction_read_only', format('new transactions are read-only, because of a setting of %s', f.origin),
       'no vector is written, and no sidecar can work; if a full disk or a switch-over is the reason, fix that first',
       case when f.source = 'client' then $$export DATABASE_URL="$(printf %s "$DATABASE_URL" | sed -E 's/(default_transaction_read_only(=|%3D))[a-z0-9]+/\1off/gI')"$$
            else 'set default_transaction_read_only = off; ' || coalesce('alter ' || f.owner || ' reset default_transaction_read_only;',
                 'alter system set default_transaction_read_only = off; select pg_reload_conf();') end,
       case f.source when 'client' then 'shell' else 'psql' end
from (select s.source, o.owner, case when s.source = 'client' then 'DATABASE_URL''s options' else coalesce(o.owner, 'the server') end as origin
      from pg_settings s
      cross join lateral (select case s.source
            when 'database' then format('database %I', current_database())
            when 'user' then format('role %I', session_user)
            when 'database user' then format('role %I in database %I', session_user, current_database())
            when 'global' then 'role all' end as owner) o
      where s.name = 'default_transaction_read_only' and s.setting = 'on') f

-- name: watches
-- The table or a column is gone, or a trigger failed. Which column is to be embedded instead of one that is gone, only the user knows.
select 'problem' as severity, format('%s.%I', w.relation, w.target) as subject, f.fault as what,
       'its rows get no vectors' || case when p.lacks_source and c.oid is not null
            then '; to embed another column instead, call sidecar.watch with it and replace => true' else '' end as why,
       case when c.oid is null then format('select sidecar.unwatch(%s, %L);', w.relation::oid, w.target)
            when sidecar_internal.inherits(w.relation) then (
                select string_agg(format('alter table %s no inherit %s;', i.inhrelid::regclass, i.inhparent::regclass), ' ')
                from pg_inherits i where w.relation in (i.inhparent, i.inhrelid))
            when p.lacks_source then format('select sidecar.unwatch(%L, %L);', w.relation, w.target)
            when sidecar_internal.structure_fault_v2(w) is not null then
                regexp_replace(sidecar_internal.watch_statement(p.present), '\)$', ', replace => true);')
            else sidecar_internal.watch_statement(w) || ';' end as remedy,
       'psql' as run_in
from sidecar_internal.watches w
left join pg_class c on c.oid = w.relation
cross join lateral (select split_part(sidecar_internal.fault_of(w), ': call ', 1) as fault) f
-- With the present names, storage and dimensions, should a column have been renamed or altered.
cross join lateral (select jsonb_populate_record(n, jsonb_build_object(
        'storage', coalesce(sidecar_internal.storage_of(coalesce(n.companion, n.relation), n.target), n.storage),
        'dimensions', coalesce((select nullif(a.atttypmod, -1) from pg_attribute a
            where a.attrelid = coalesce(n.companion, n.relation) and a.attname = n.target
                and sidecar_internal.storage_of(a.attrelid, a.attname) is not null), n.dimensions))) as present,
           exists (select from unnest(n.source) s(name) where not exists (
               select from pg_attribute a where a.attrelid = n.relation and a.attname = s.name and not a.attisdropped)) as lacks_source
    from sidecar_internal.with_present_names(w) n) p
where w.unwatched_at is null and f.fault is not null
  and (c.oid is null or sidecar_internal.structure_fault_v2(w) is not null or w.broken is not null or sidecar_internal.inherits(w.relation)
       or exists (select from sidecar_internal.breakages b where b.watch_id = w.id))

-- name: triggers
-- Triggers missing, disabled, or not as the table needs them now.
select 'problem' as severity, format('%s.%I', w.relation, w.target) as subject,
       case when d.disabled is not null then format('disabled: %s', d.disabled)
            when d.standing < 5 then format('%s of 5 triggers are missing', 5 - d.standing)
            when sidecar_internal.partition_lacks_trigger(w) then 'a partition lacks a trigger, or has it disabled'
            else 'the triggers no longer have the shape that the table needs' end as what,
       'changes of rows are not noticed until the next sweep, and changed content never is' as why,
       sidecar_internal.watch_statement(w) || ';' as remedy, 'psql' as run_in
from sidecar_internal.watches w
cross join lateral (select count(*) as standing, string_agg(t.name, ', ' order by t.name) filter (where not t.fires) as disabled
                    from sidecar_internal.triggers_of(w) t) d
where w.unwatched_at is null and sidecar_internal.structure_fault_v2(w) is null and not sidecar_internal.inherits(w.relation) and not sidecar_internal.triggers_fit(w)

-- name: grants
-- Rights that the roles of sidecars lack, on users' tables and on the sidecar's own.
select 'problem' as severity, r.role::text as subject, d.what, 'the sidecar skips such a watch' as why,
       d.remedy || ';' as remedy, 'psql' as run_in
from sidecar_internal.serving_roles() r(role)
cross join lateral (select distinct d.what, d.remedy from sidecar_internal.watches w cross join lateral sidecar_internal.denials_of(w, r.role) d
                    where w.unwatched_at is null and sidecar_internal.structure_fault_v2(w) is null
                      -- Sidecars of other models do not work on the watch anyway.
                      and (not exists (select from sidecar_internal.sidecars s where s.role = r.role and s.seen_at > clock_timestamp() - interval '30 s')
                           or exists (select from sidecar_internal.sidecars s where s.role = r.role and s.seen_at > clock_timestamp() - interval '30 s'
                                      and sidecar_internal.can_serve(w, s)))) d
union all
select 'problem', r.role::text, format('%I may not %s', r.role, string_agg(p.what, ', ' order by p.what)),
       'the sidecar cannot take rows from the queue, or report that it is alive', format('select sidecar.grant_worker(%L);', r.role), 'psql'
from sidecar_internal.serving_roles() r(role)
cross join lateral (
    select format('%s on %s', a.action, c.oid::regclass) as what
    from pg_class c
    cross join lateral unnest(case when c.relname = 'watches' then array['select', 'update'] when c.relname = 'breakages' then array['select']
                              else array['select', 'insert', 'update', 'delete'] end) a(action)
    where c.relnamespace = 'sidecar_internal'::regnamespace and c.relkind = 'r'
      and (c.relname in ('watches', 'scans', 'failures', 'wake', 'sidecars', 'progress', 'breakages', 'index_failures')
           or c.oid in (select q from sidecar_internal.watches w cross join lateral sidecar_internal.queue_of(w.id) q where w.unwatched_at is null))
      and not case when c.relname = 'watches' then has_any_column_privilege(r.role, c.oid, a.action) else has_table_privilege(r.role, c.oid, a.action) end
    union all
    select format('use schema %s', s.name) from unnest(array['sidecar', 'sidecar_internal']) s(name) where not has_schema_privilege(r.role, s.name, 'usage')
    union all
    select 'use sequence sidecar_internal.generation' where not has_sequence_privilege(r.role, 'sidecar_internal.generation', 'usage')
) p
group by r.role

-- name: sql_embed
-- The connection of sidecar.embed, where it was enabled: opened once, which takes some milliseconds.
select 'warning' as severity, 'sidecar.embed' as subject, 'its connection cannot be opened: ' || f.fault as what,
       'statements that call it fail, unless the vector is in the cache' as why,
       'call sidecar.enable_embed();' as remedy, 'psql' as run_in
from sidecar_internal.embed_connection_fault() f(fault) where f.fault is not null

-- name: exposed_columns
-- Exposed columns that searches over REST cannot show: gone, or not readable by a role of a sidecar.
select 'warning' as severity, format('%s.%I', w.relation, w.target) as subject,
       format('exposed columns no longer exist: %s', (select string_agg(quote_ident(e), ', ') from unnest(w.expose) e where e <> all (sidecar_internal.present_columns(w)))) as what,
       'searches over REST do not show them' as why, sidecar_internal.watch_statement(w) || ';' as remedy, 'psql' as run_in
from sidecar_internal.watches w
where w.unwatched_at is null and sidecar_internal.structure_fault_v2(w) is null and sidecar_internal.present_columns(w) <> w.expose
union all
select 'warning', r.role::text, format('%I may not select %s of %s', r.role, d.columns, w.relation), 'searches over REST that show them fail',
       format('grant select (%s) on %s to %I;', d.columns, w.relation, r.role), 'psql'
from sidecar_internal.serving_roles() r(role) cross join sidecar_internal.watches w cross join lateral sidecar_internal.unreadable_columns(w, r.role) d(columns)
where w.unwatched_at is null and d.columns is not null and sidecar_internal.structure_fault_v2(w) is null

-- name: index
-- An index that is wanted and due, but missing (without vectors it is not due), left invalid by an interrupted build, or
-- failing to build.
select 'warning' as severity, format('%s.%I', w.relation, w.target) as subject,
       case when i.state like 'invalid%' then 'the index is ' || i.state else 'there is no index: ' || i.state end as what,
       case when o.may_build and f.watch_id is not null then 'searches read the whole table; the sidecar tries again, and the statement below may be run at any time'
            when o.may_build then 'searches read the whole table; a running sidecar builds the index by itself when the backlog is done'
            else 'searches read the whole table, and no role of a sidecar owns it, so its owner has to build the index' end as why,
       sidecar_internal.index_statement(w) || ';' as remedy, 'psql' as run_in
from sidecar_internal.watches w
join pg_class c on c.oid = coalesce(w.companion, w.relation)
cross join (select sidecar_internal.running_builds() as builds) b
cross join lateral (select sidecar_internal.index_of(w, b.builds) as state) i
cross join lateral (select exists (select from sidecar_internal.serving_roles() r(role) where pg_has_role(r.role, c.relowner, 'usage')) as may_build) o
left join sidecar_internal.index_failures f on f.watch_id = w.id
where w.unwatched_at is null and sidecar_internal.structure_fault_v2(w) is null and w.index_kind <> 'none' and i.state not like 'building:%' and i.state <> 'building'
  and exists (select from sidecar_internal.index_steps(w) s where s not like 'drop index %')
  and exists (select from sidecar_internal.count_ledger(w, false) l where l.entries > l.empty + l.failed)
  and not exists (select from sidecar_internal.scans s where s.watch_id = w.id and s.finished_at is null and s.purpose <> 'sweep')

-- name: lock_budget
-- Partition trees too large for the server's lock table. Reads and writes of rows lock single partitions; a page of a scan,
-- VACUUM of the root, and users' statements that do not prune lock every table and index of the tree, in each session.
select distinct 'warning' as severity, t.relation::text as subject,
       format('the %s tables and indexes of its tree, locked by %s sessions at a time, take %s locks; the server has room for about %s',
              t.objects, l.sessions, t.objects * l.sessions, b.locks) as what,
       'when the lock table is full, statements of users fail with "out of shared memory", and logins too' as why,
       format('alter system set max_locks_per_transaction = %s; -- and restart the server', ceil(2.0 * t.objects * l.sessions / b.slots)) as remedy,
       'psql' as run_in
from (select ($1::jsonb->>'lock_sessions')::bigint as sessions) l
cross join (select current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint as slots,
                   current_setting('max_locks_per_transaction')::bigint
                   * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint) as locks) b
cross join (select w.relation, count(*) + sum((select count(*) from pg_index i where i.indrelid = x.home)) as objects
            from sidecar_internal.watches w cross join lateral sidecar_internal.tree_of(w.relation) x
            where w.unwatched_at is null group by w.relation, w.id having count(*) > 1) t
where t.objects * l.sessions > b.locks / 2

-- name: former_index
-- Indexes that a sidecar built and the watch no longer uses: of another method or kind, or left by a REINDEX.
select 'warning' as severity, format('%s.%I', w.relation, w.target) as subject, format('index %s is no longer used', f.index) as what,
       'each vector that is written goes into it too, which takes 2 to 6 ms; a running sidecar that may act for the owner of the table drops it' as why,
       f.statement || ';' as remedy, 'psql' as run_in
from sidecar_internal.watches w cross join lateral sidecar_internal.former_indexes(w) f
where w.unwatched_at is null and sidecar_internal.structure_fault_v2(w) is null

-- name: index_recall
-- Indexes that find less than 95 % of the nearest rows with the database's hnsw.ef_search or ivfflat.probes, as last measured; and the least
-- value that was measured to find so much. All watches of a method share the setting, so it is the largest of what they need.
-- Methods without such a setting are left out: their extensions tell what to do.
select 'warning' as severity, format('%s.%I', w.relation, w.target) as subject,
       format('with %s = %s its index finds %s %% of the %s nearest rows (measured %s)', s.setting, u.ef_search,
              trunc(100 * u.recall::numeric, 1), u.k, u.measured_at::date) as what,
       case when e.ef_search is not null then format(
                'with %s it finds %s %%, and a search takes %s ms instead of %s; it holds for sessions that begin later, and for /search',
                e.ef_search, trunc(100 * e.recall::numeric, 1), round(e.index_ms::numeric, 1), round(u.index_ms::numeric, 1))
            when l.ef_search < s.largest then format('%s, the largest value that was measured, finds %s %%: measure larger ones', l.ef_search,
                trunc(100 * l.recall::numeric, 1))
            else format('no value of %s finds 95 %%: another index has to be built, with more %s', s.setting, case w.index_method when 'hnsw' then 'connections' else 'lists' end)
                 || case when i.relkind = 'I' then '; that blocks writes, see docs/partitions.md' else '' end end as why,
       case when e.ef_search is not null then sidecar_internal.scan_setting_statement(s.setting, max(e.ef_search) over (partition by s.setting))
            when l.ef_search < s.largest then format('select * from sidecar.recall(%L, %L, k => %s, ef_search => array[%s, %s, %s]);',
                w.relation, w.target, u.k, u.ef_search, 3 * s.largest / 5, s.largest)
            else sidecar_internal.larger_index_statement(w, u.index_id) end as remedy,
       'psql' as run_in
from sidecar_internal.watches w
cross join lateral sidecar_internal.usual_recall_of(w) u
cross join lateral (select sidecar_internal.scan_setting(w) as setting,
                           case w.index_method when 'hnsw' then 1000 else coalesce(sidecar_internal.lists_of(w), 100) end as largest) s
join pg_class i on i.oid = u.index_id
cross join lateral (select * from sidecar_internal.recalls_of(w) r order by r.ef_search desc limit 1) l
left join lateral (select * from sidecar_internal.recalls_of(w) r where r.recall >= 0.95 order by r.ef_search limit 1) e on true
where w.unwatched_at is null and u.recall < 0.95 and s.setting is not null

-- name: maintenance_work_mem
-- The memory for index builds of the role that builds. Its setting in this database takes precedence over its setting in all
-- databases, and that over the server's.
select 'warning' as severity, format('%s.%I', w.relation, w.target) as subject,
       format('building the index of about %s rows takes %s, but maintenance_work_mem of %s is %s', n.rows, pg_size_pretty(n.bytes), r.role,
              pg_size_pretty(m.bytes)) as what,
       case w.index_method when 'hnsw' then 'what does not fit is built several times slower' else 'IVFFlat is not built with less' end as why,
       format('alter role %I in database %I set maintenance_work_mem = %L;', r.role, current_database(),
              ceil(n.bytes * 1.1 / 1048576) || 'MB') as remedy,
       'psql' as run_in
from sidecar_internal.watches w
cross join lateral (select rows, sidecar_internal.graph_bytes(w, rows) as bytes
                    from (select (sidecar_internal.count_rows(w.relation, false)).n as rows) counted) n
cross join sidecar_internal.serving_roles() r(role)
cross join lateral (
    select pg_size_bytes(coalesce(
        (select regexp_replace(substring(setting from '=(.*)$'), '^(\d+)$', '\1kB') from pg_db_role_setting s cross join unnest(s.setconfig) setting
         where setting like 'maintenance\_work\_mem=%' and s.setrole in (0, (select oid from pg_roles where rolname = r.role))
           and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
         order by s.setrole <> 0 and s.setdatabase <> 0 desc, s.setrole <> 0 desc limit 1),
        current_setting('maintenance_work_mem'))) as bytes) m
where w.unwatched_at is null and w.index_kind <> 'none' and sidecar_internal.structure_fault_v2(w) is null
  and not (select coalesce(f.valid, false) from (select) nothing left join sidecar_internal.find_index(coalesce(w.companion, w.relation), w.target) f on true)
  and n.bytes > m.bytes

-- name: hot_updates
-- Tables with many updates by users (not of vectors by sidecars), of which few are HOT, and without room in their pages for
-- more.
select 'warning' as severity, t.relation::text as subject,
       format('%s of %s updates were HOT, and fillfactor is %s', s.n_tup_hot_upd, s.n_tup_upd, t.fillfactor) as what,
       'each other update writes all indexes of the row again, about 2 ms with HNSW. This leaves room in pages to come (VACUUM FULL rewrites '
       'the present ones); a companion table has no such cost' as why,
       format('alter table %s set (fillfactor = 70);', t.relation) as remedy,
       'psql' as run_in
from (select w.relation, coalesce((select sidecar_internal.read_number(option_value) from pg_options_to_table(c.reloptions) where option_name = 'fillfactor'), 100) as fillfactor,
             sum(p.embedded_total) as ours
      from sidecar_internal.watches w join pg_class c on c.oid = w.relation left join sidecar_internal.progress p on p.watch_id = w.id
      where w.unwatched_at is null and w.companion is null and w.index_kind <> 'none' and c.relkind = 'r' group by w.relation, c.reloptions) t
join pg_stat_all_tables s on s.relid = t.relation
where t.fillfactor > 90 and s.n_tup_upd - coalesce(t.ours, 0) > greatest(10000, 2 * s.n_live_tup) and s.n_tup_hot_upd < s.n_tup_upd / 2

-- name: fingerprints
-- Watches that no running sidecar can serve, and watches that sidecars of several models could claim.
with running as (
    select * from sidecar_internal.sidecars s where s.seen_at > clock_timestamp() - interval '30 s'
)
select 'warning' as severity, format('%s.%I', w.relation, w.target) as subject,
       format('its vectors are of %s, %s dimensions; running: %s', coalesce('fingerprint ' || w.fingerprint, 'model ' || w.model, 'any model'), w.dimensions,
              (select string_agg(distinct format('%s (%s, %s dimensions)', r.model, r.fingerprint, r.dimensions), ', ') from running r)) as what,
       case when m.fingerprint is not null
            then 'no running sidecar fills it. One with that model would; reembed moves the watch to another model and clears the old vectors first'
            else format('no running sidecar fills it, nor could: run one whose model makes %s dimensions, or watch another target with dimensions => %s',
                        w.dimensions, (select min(r.dimensions) from running r)) end as why,
       case when m.fingerprint is not null then format('select sidecar.reembed(%L, %L, model => %L);', w.relation, w.target, m.fingerprint)
            else format('VISION_MODEL_ID=%s sidecar serve', coalesce(
                w.encoder, case when not exists (select from running r where w.model in (r.model, r.fingerprint)) then w.model end, '...')) end as remedy,
       case when m.fingerprint is not null then 'psql' else 'shell' end as run_in
from sidecar_internal.watches w
left join lateral (select r.fingerprint from running r where r.dimensions = w.dimensions order by r.started_at limit 1) m on true
where w.unwatched_at is null and exists (select from running)
  and not exists (select from sidecar_internal.sidecars s where s.seen_at > clock_timestamp() - interval '30 s' and sidecar_internal.can_serve(w, s))
union all
select 'warning', format('%s.%I', w.relation, w.target),
       format('sidecars with %s fingerprints may fill it: %s', count(distinct r.fingerprint), string_agg(distinct r.fingerprint, ', ')),
       'the first one to write decides its vector space', format('update sidecar_internal.watches set model = %L where id = %s;', min(r.fingerprint), w.id), 'psql'
from sidecar_internal.watches w join running r on r.dimensions = w.dimensions and (w.model is null or w.model in (r.model, r.fingerprint))
where w.unwatched_at is null and w.fingerprint is null
group by w.id having count(distinct r.fingerprint) > 1

-- name: strangers
-- Vectors that were written past the triggers, perhaps of another model. Reads a sample of the rows; not while the queue is long.
select 'warning' as severity, format('%s.%I', w.relation, w.target) as subject,
       format('%s of %s vectors in a sample were not written by the sidecar', c.foreign_vectors, c.looked) as what,
       'vectors of another model give an order without meaning' as why,
       format('select sidecar.verify(%L, %L);', w.relation, w.target) as remedy, 'psql' as run_in
from sidecar_internal.watches w cross join lateral sidecar_internal.count_foreign_vectors(w, ($1::jsonb->>'sample_rows')::integer) c
where w.unwatched_at is null and not sidecar_internal.has_long_queue(w) and sidecar_internal.structure_fault_v2(w) is null and c.foreign_vectors > 0
  and not exists (select from sidecar_internal.scans s where s.watch_id = w.id and s.finished_at is null and s.purpose <> 'sweep')
union all
select 'note', format('%s.%I', w.relation, w.target),
       format('%s, so vectors were not compared with what was recorded of them',
              case when q.n > 0 then format('about %s events wait', q.n) else 'the queue is full of dead rows' end),
       'those of waiting rows are about to be replaced or deleted', 'sidecar doctor', 'shell'
from sidecar_internal.watches w cross join lateral sidecar_internal.count_rows(format('sidecar_internal.events_%s', w.id), false) q
where w.unwatched_at is null and sidecar_internal.has_long_queue(w)

-- name: companion_orphans
-- Rows of companions without a row of the watched table. Counts up to 10,000, of a companion over 4 MB in a sample; not while the
-- queue is long.
select 'warning' as severity, w.companion::text as subject,
       format('%s%s rows no longer have a row in %s', case when o.n = 10000 or pg_relation_size(w.companion) > 512 * 8192 then 'at least ' else '' end, o.n, w.relation) as what,
       'a search that does not join the watched table finds what is no longer there' as why,
       format('delete from %s h where not exists (select from %s t where %s);', w.companion, w.relation,
              sidecar_internal.for_each_key(w.key_columns, null, 't.%2$I = h.%2$I', ' and ')) as remedy,
       'psql' as run_in
from sidecar_internal.watches w cross join lateral (select sidecar_internal.count_vectors_without_row(w, 10000) as n) o
where w.unwatched_at is null and w.companion is not null and sidecar_internal.structure_fault_v2(w) is null and o.n > 0
  and not sidecar_internal.has_long_queue(w)
  and not exists (select from sidecar_internal.scans s where s.watch_id = w.id and s.finished_at is null and s.purpose <> 'sweep')

-- name: failures
-- Failed rows by reason.
select 'warning' as severity, format('%s.%I', f.relation, f.target) as subject,
       format('%s failed: %s, such as %s: %s', case f.failures when 1 then '1 row' else f.failures || ' rows' end, f.reason, f.example_key, left(f.example_message, 200)) as what, f.advice as why,
       concat_ws(E'\n', f.rows_statement, f.retry_statement) as remedy, 'psql' as run_in
from sidecar.failures_by_reason f

-- name: texts
-- Texts that are longer than the model reads, or of which it knows hardly a word. Counts of large tables are estimates.
select 'note' as severity, format('%s.%I', w.relation, w.target) as subject,
       format('%s of %s texts are %s', t.n, l.entries - l.empty - l.failed, t.what) as what, t.why, format('%s(%L, %L);', t.listing, w.relation, w.target) as remedy,
       'psql' as run_in
from sidecar_internal.watches w cross join lateral sidecar_internal.count_ledger(w, false) l
cross join lateral (values
    (l.truncated, 'longer than the model reads', 'the end of such a text does not affect its vector; split long texts into several rows, or put what matters first',
     'select * from sidecar.truncated_texts'),
    (l.unreadable, 'in words that the model does not know', 'searches hardly tell such texts apart; a model for their language would', 'select * from sidecar.unreadable_texts')
) t(n, what, why, listing)
where w.unwatched_at is null and w.kind = 'text' and t.n > 0

-- name: sidecars
-- No sidecar has had a heartbeat within 30 s.
select 'warning' as severity, 'sidecars' as subject, 'no sidecar is running on this database' as what,
       'nothing is embedded' as why, 'sidecar serve' as remedy, 'shell' as run_in
where exists (select from sidecar_internal.watches w where w.unwatched_at is null)
  and not exists (select from sidecar_internal.sidecars s where s.seen_at > clock_timestamp() - interval '30 s')

-- name: sidecar_clocks
-- Sidecars whose clock differs from the server's.
select 'warning' as severity, format('sidecar on %s', s.host) as subject,
       format('its clock is %s s %s the server''s', round(abs(s.clock_skew_s)::numeric, 1), case when s.clock_skew_s > 0 then 'ahead of' else 'behind' end) as what,
       'times in its log do not match those of the database and of other machines' as why,
       format('ssh %s sudo chronyc makestep', quote_ident(s.host)) as remedy, 'shell' as run_in
from sidecar_internal.sidecars s
where s.seen_at > clock_timestamp() - interval '30 s' and abs(s.clock_skew_s) > ($1::jsonb->>'clock_skew_s')::float8

-- name: paused
-- Paused watches.
select 'note' as severity, format('%s.%I', w.relation, w.target) as subject, 'the watch is paused' as what,
       'changes are remembered, but not embedded' as why, format('select sidecar.resume(%L, %L);', w.relation, w.target) as remedy, 'psql' as run_in
from sidecar_internal.watches w where w.unwatched_at is null and w.paused

-- name: autovacuum
-- Autovacuum disabled for the sidecar's tables, for tables with vectors, or for the server.
select 'problem' as severity, c.oid::regclass::text as subject, 'autovacuum is switched off for this table' as what,
       'the queue gets slower with every row that passes through it' as why,
       format('alter table %s reset (autovacuum_enabled);', c.oid::regclass) as remedy, 'psql' as run_in
from pg_class c
where c.relkind = 'r' and (c.relnamespace = 'sidecar_internal'::regnamespace or c.oid in (
        select coalesce(w.companion, w.relation) from sidecar_internal.watches w where w.unwatched_at is null))
  and exists (select from pg_options_to_table(c.reloptions) where option_name = 'autovacuum_enabled' and not option_value::boolean)
union all
select 'problem', 'server', 'autovacuum is switched off', 'the queue gets slower with every row that passes through it',
       'alter system set autovacuum = on; select pg_reload_conf();', 'psql'
where not current_setting('autovacuum')::boolean

-- name: dead_rows
-- Tables of the sidecar with many dead rows.
select 'warning' as severity, s.relid::regclass::text as subject,
       format('%s dead rows beside %s live ones', s.n_dead_tup, s.n_live_tup) as what,
       'every claim has to skip them; if VACUUM does not help, an old transaction keeps them' as why,
       format('vacuum (analyze) %s;', s.relid::regclass) as remedy, 'psql' as run_in
from pg_stat_all_tables s
where s.schemaname = 'sidecar_internal' and s.n_dead_tup > greatest(($1::jsonb->>'dead_rows')::bigint, s.n_live_tup)

-- name: long_transactions
-- Transactions in this database that hold an old snapshot, and prepared ones that were forgotten.
select 'warning' as severity, format('process %s of %s', a.pid, a.usename) as subject,
       format('a transaction has been open for %s: %s', date_trunc('second', clock_timestamp() - a.xact_start), left(a.query, 100)) as what,
       'VACUUM cannot remove rows deleted since then, so the queue gets slower; index builds wait for it' as why,
       format('select pg_terminate_backend(%s);', a.pid) as remedy, 'psql' as run_in
from pg_stat_activity a
where a.datname = current_database() and a.pid <> pg_backend_pid() and coalesce(a.backend_xmin, a.backend_xid) is not null
  and a.xact_start < clock_timestamp() - make_interval(secs => ($1::jsonb->>'long_transaction_s')::float8)
  and a.query not ilike 'create index concurrently%' and a.backend_type = 'client backend'
union all
select 'warning', format('prepared transaction %s', quote_literal(p.gid)), format('it has been open since %s', p.prepared),
       'VACUUM cannot remove rows deleted since then, so the queue gets slower; index builds wait for it', format('rollback prepared %L;', p.gid), 'psql'
from pg_prepared_xacts p
where p.database = current_database() and p.prepared < clock_timestamp() - make_interval(secs => ($1::jsonb->>'long_transaction_s')::float8)

-- name: replication_slots
-- Inactive replication slots that retain WAL or old rows.
select 'warning' as severity, format('replication slot %s', s.slot_name) as subject,
       format('no one reads it, and it retains %s of WAL%s', pg_size_pretty(l.bytes), case when coalesce(s.xmin, s.catalog_xmin) is not null
              then ', and old rows' else '' end) as what,
       'the disk fills up, or VACUUM stops helping' as why, format('select pg_drop_replication_slot(%L);', s.slot_name) as remedy, 'psql' as run_in
from pg_replication_slots s
cross join lateral (select pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, s.restart_lsn) as bytes) l
where not s.active and (l.bytes > ($1::jsonb->>'slot_lag_bytes')::bigint or s.xmin is not null)

-- name: read_only_roles
-- Roles of sidecars whose transactions are read-only. (The role of this session: read_only.)
select 'problem' as severity, s.owner as subject, 'its transactions are read-only (default_transaction_read_only)' as what,
       'a sidecar that connects as this role writes no vectors' as why,
       format('set default_transaction_read_only = off; alter %s reset default_transaction_read_only;', s.owner) as remedy, 'psql' as run_in
from sidecar_internal.serving_roles() r(role)
join pg_roles p on p.rolname = r.role
cross join lateral (
    select d.setrole, split_part(c.setting, '=', 2)::boolean as is_on,
           format(case when d.setdatabase = 0 then 'role %I' else 'role %I in database %I' end, r.role, current_database()) as owner
    from pg_db_role_setting d cross join lateral unnest(d.setconfig) c(setting)
    where d.setrole in (0, p.oid) and d.setdatabase in (0, (select b.oid from pg_database b where b.datname = current_database()))
      and c.setting like 'default\_transaction\_read\_only=%'
    order by d.setrole <> 0 desc, d.setdatabase <> 0 desc limit 1) s
where r.role <> session_user and s.is_on and s.setrole <> 0

-- name: prepared_transactions
-- Two-phase commit is enabled, so sidecars poll instead of waiting for notifications.
select 'note' as severity, 'max_prepared_transactions' as subject,
       format('it is %s, so sidecars poll every POLL_INTERVAL_S instead of waiting for NOTIFY', s.setting) as what,
       'a NOTIFY would make PREPARE TRANSACTION fail. If no one uses it, set it to 0 and restart the server' as why,
       'alter system set max_prepared_transactions = 0;' as remedy, 'psql' as run_in
from pg_settings s where s.name = 'max_prepared_transactions' and s.setting::integer > 0
