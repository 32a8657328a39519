-- The views that users read. They come after the functions that they call: only bodies of functions may name later objects.

create or replace view sidecar.status as select * from sidecar_internal.status_of(null, false);

-- The same with every number counted.
create or replace function sidecar.status_exact(relation regclass) returns setof sidecar.status
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    perform sidecar_internal.watches_meant(relation, null);
    return query select * from sidecar_internal.status_of(relation, true);
end $$;
comment on function sidecar.status_exact is 'sidecar.status with every number counted instead of estimated, for one table or (NULL) all.';

create or replace view sidecar.failures as
    select w.relation, w.target, coalesce(d.wide_key, d.key) as key, d.reason, d.message, d.attempts, d.failed_at as at
    from sidecar_internal.failures d join sidecar_internal.watches w on w.id = d.watch_id
    where w.unwatched_at is null;

-- Progress of what reads whole tables. Its rows are those of sidecar_internal.scans without their cursors.
create or replace view sidecar.scans as
    select w.relation, w.target, s.purpose, s.started_at, s.finished_at, s.rows_seen, s.bytes_seen, s.found
    from sidecar_internal.scans s join sidecar_internal.watches w on w.id = s.watch_id
    where w.unwatched_at is null;

-- Index builds in progress, as far as the role may see them: its own, or all with pg_read_all_stats. `percent` is that of the
-- phase. The column tells which watch an index belongs to; a build without CONCURRENTLY hides its index until it ends.
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

-- What sidecar.recall last measured. `is_current`: the index and the model of the vectors are still those that were measured.
create or replace view sidecar.measured_recall as
    select w.relation, w.target, r.ef_search, r.k, r.recall, r.lowest, r.queries, r.index_ms, r.exact_ms, r.measured_at, r.measured_by,
           exists (select from sidecar_internal.recalls_of(w) c where c.ef_search = r.ef_search) as is_current
    from sidecar_internal.recalls r join sidecar_internal.watches w on w.id = r.watch_id
    where w.unwatched_at is null;

create or replace view sidecar.failures_by_reason as
    select w.relation, w.target, g.reason, g.failures, g.oldest, g.newest, e.key as example_key, e.message as example_message,
           sidecar_internal.advice_on(g.reason) as advice, w.id as watch_id, sidecar_internal.rows_statement(w, g.reason) as rows_statement,
           case when sidecar_internal.retry_helps(g.reason)
                then format('select sidecar.retry(%L, %L, reason => %L);', w.relation, w.target, g.reason) end as retry_statement
    from (select d.watch_id, d.reason, count(*) as failures, min(d.failed_at) as oldest, max(d.failed_at) as newest
          from sidecar_internal.failures d group by d.watch_id, d.reason) g
    join sidecar_internal.watches w on w.id = g.watch_id
    cross join lateral (select coalesce(d.wide_key, d.key) as key, d.message from sidecar_internal.failures d
                        where d.watch_id = g.watch_id and d.reason = g.reason order by d.failed_at desc limit 1) e
    where w.unwatched_at is null;

comment on view sidecar.status is
    'Active watches: state, progress, index and query of each. Numbers of large tables are estimates; see sidecar.status_exact.';
comment on column sidecar.status.state is
    'What the watch is doing, or why it does nothing and what to run.';
comment on column sidecar.status.rows is 'Rows of the table.';
comment on column sidecar.status.embedded is 'Rows that have a vector.';
comment on column sidecar.status.pending is 'Rows that are still to be embedded, or embedded again.';
comment on column sidecar.status.outdated is
    'Of the embedded rows, those that are pending: they keep their present vector until they are embedded again.';
comment on column sidecar.status.failed is 'Rows that cannot be embedded: see sidecar.failures.';
comment on column sidecar.status.retrying is 'Of the failed rows, those that are pending: they changed, or were retried.';
comment on column sidecar.status.health is
    'problem (rows are not embedded until someone acts), warning (rows failed, the watch is paused, or its index cannot be built), working or ok.';
comment on column sidecar.status.empty is 'Rows without content; their vector is NULL.';
comment on column sidecar.status.truncated is 'Texts that are longer than the model reads: their ends do not affect the vectors. See sidecar.truncated_texts.';
comment on column sidecar.status.unreadable is 'Texts of which the model''s tokenizer knows hardly a word. See sidecar.unreadable_texts.';
comment on column sidecar.status.coverage is 'Percentage of the rows with content that have a vector, an outdated one or not.';
comment on column sidecar.status.oldest_pending is 'How long the oldest pending change has waited.';
comment on column sidecar.status.lag_ms is 'Milliseconds from commit to vector, mean of the last changes.';
comment on column sidecar.status.index is 'The index, or why there is none.';
comment on column sidecar.status.index_statement is 'What an owner has to run to build the index; NULL if nothing is left to do.';
comment on column sidecar.status.query is 'The nearest-neighbour query that uses the index. $1 is the query vector.';
comment on column sidecar.status.fingerprint is 'The model and its settings that the stored vectors were made with.';
comment on column sidecar.status.recall is
    'The share of the recall_k nearest rows that a search with the database''s hnsw.ef_search or ivfflat.probes finds, as last measured by sidecar.recall; '
    'NULL if the present index was not measured.';
comment on column sidecar.status.recall_ef_search is 'What it was measured with: the database''s value, or the next smaller one.';
comment on column sidecar.status.recall_at is 'When it was measured.';
comment on column sidecar.status.storage is 'The type that the vectors are stored as: vector (4 bytes a number) or halfvec (2 bytes).';
comment on column sidecar.status.estimated is 'Whether rows, embedded and pending are estimates.';
comment on column sidecar.status.watch_id is 'Number of the watch, as in sidecar.renew_triggers and in the logs.';
comment on view sidecar.failures is
    'Rows whose current content cannot be embedded, and why. A row that changes is tried again automatically, others with sidecar.retry.';
comment on column sidecar.failures.key is 'Primary key of the row.';
comment on column sidecar.failures.reason is 'Code of the cause, such as not_a_picture.';
comment on column sidecar.failures.message is 'What was wrong.';
comment on column sidecar.failures.attempts is 'How often the row was tried.';
comment on column sidecar.failures.at is 'When it failed.';
comment on view sidecar.failures_by_reason is 'Failures of each watch, counted by reason, with an example and advice.';
comment on column sidecar.failures_by_reason.oldest is 'When the first of them failed.';
comment on column sidecar.failures_by_reason.newest is 'When the last of them failed.';
comment on column sidecar.failures_by_reason.example_key is 'Primary key of the latest one.';
comment on column sidecar.failures_by_reason.advice is 'What to do about failures of this reason.';
comment on column sidecar.failures_by_reason.rows_statement is 'The query that shows these rows, joined with the watched table.';
comment on column sidecar.failures_by_reason.retry_statement is
    'The call that tries them again once the advice has been followed; NULL if only other content helps: a row that changes is tried again automatically.';
comment on view sidecar.index_builds is 'Index builds in progress, as far as the role may see them.';
comment on column sidecar.index_builds.percent is 'Progress of the present phase.';
comment on column sidecar.index_builds.home is 'The table that is being indexed: the watched table, its companion, or a partition.';
comment on view sidecar.measured_recall is
    'What sidecar.recall last measured without a filter, for each value of hnsw.ef_search or ivfflat.probes (0: another method).';
comment on column sidecar.measured_recall.recall is 'Mean share of the k nearest rows that the index found.';
comment on column sidecar.measured_recall.lowest is 'That share in the worst query.';
comment on column sidecar.measured_recall.is_current is 'Whether the index and the model of the vectors are still those that were measured.';
comment on view sidecar.scans is 'Progress of passes over whole tables: clear, move, backfill, sweep, verify.';
comment on column sidecar.scans.finished_at is 'NULL while it is running.';
comment on column sidecar.scans.rows_seen is 'Rows read by a verification so far.';
comment on column sidecar.scans.bytes_seen is 'Bytes read by a verification so far.';
comment on column sidecar.scans.found is 'Rows that were found to differ and were enqueued.';
comment on table sidecar.alembic_version is 'The revision of our tables. Kept by `sidecar migrate`.';

comment on schema sidecar is 'Functions, procedures and views of the sidecar, to be called and read: \df+ sidecar.*';
comment on schema sidecar_internal is 'Tables and functions of the sidecar that may change with every version.';
