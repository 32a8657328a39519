-- The views that users read. After the functions that they call: only bodies of functions may name what comes later.

create or replace view sidecar.status as select * from sidecar_internal.status_of(null, false);

-- The same with every number counted.
create or replace function sidecar.status_exact(relation regclass) returns setof sidecar.status
language sql stable set search_path = pg_catalog, pg_temp as $$ select * from sidecar_internal.status_of(relation, true) $$;

create or replace view sidecar.failures as
    select w.relation, w.target, coalesce(d.wide_key, d.key) as key, d.reason, d.message, d.attempts, d.failed_at as at
    from sidecar_internal.failures d join sidecar_internal.watches w on w.id = d.watch_id
    where w.unwatched_at is null;

-- Progress of what reads whole tables. Its rows are those of sidecar_internal.scans without their cursors.
create or replace view sidecar.scans as
    select w.relation, w.target, s.purpose, s.started_at, s.finished_at, s.rows_seen, s.bytes_seen, s.found
    from sidecar_internal.scans s join sidecar_internal.watches w on w.id = s.watch_id
    where w.unwatched_at is null;

-- Index builds under way, as far as the role may see them: its own, or all with pg_read_all_stats. `percent` is that of the
-- phase. One watch's index is told from another's by its column; a build that is not CONCURRENTLY hides its index until it ends.
create or replace view sidecar.index_builds as
    select w.id as watch_id, w.relation, w.target, p.relid::regclass as home, p.pid, p.phase,
           round(100 * least(1, coalesce(p.blocks_done::numeric / nullif(p.blocks_total, 0),
                                         p.tuples_done::numeric / nullif(greatest(c.reltuples::numeric, p.tuples_total, 0), 0), 0)), 1) as percent,
           p.blocks_done, p.blocks_total, p.tuples_done, p.tuples_total
    from sidecar_internal.watches w
    join pg_stat_progress_create_index p on p.datname = current_database()
        and p.relid in (select t.home from sidecar_internal.tree_of(coalesce(w.companion, w.relation)) t)
    join pg_class c on c.oid = p.relid
    where w.unwatched_at is null and (not exists (select from pg_class i where i.oid = p.index_relid) or exists (
        select from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where d.classid = 'pg_class'::regclass and d.objid = p.index_relid and d.refobjid = p.relid and a.attname = w.target));

create or replace view sidecar.failures_by_reason as
    select w.relation, w.target, g.reason, g.failures, g.oldest, g.newest, e.key as example_key, e.message as example_message,
           sidecar_internal.advice_on(g.reason) as advice, w.id as watch_id
    from (select d.watch_id, d.reason, count(*) as failures, min(d.failed_at) as oldest, max(d.failed_at) as newest
          from sidecar_internal.failures d group by d.watch_id, d.reason) g
    join sidecar_internal.watches w on w.id = g.watch_id
    cross join lateral (select coalesce(d.wide_key, d.key) as key, d.message from sidecar_internal.failures d
                        where d.watch_id = g.watch_id and d.reason = g.reason order by d.failed_at desc limit 1) e
    where w.unwatched_at is null;
