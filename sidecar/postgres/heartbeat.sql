-- A sidecar's own rows: statements of heartbeat.py, and the progress that ingest records.

-- name: record_heartbeat
-- Primary key. $8 the sidecar's clock in seconds since 1970; $9 texts and $10 views of pictures that its device embeds in a
-- second, NULL while not measured.
insert into sidecar_internal.sidecars (id, host, pid, version, model, fingerprint, dimensions, clock_skew_s, texts_per_s, picture_views_per_s)
values ($1, $2, $3, $4, $5, $6, $7, $8 - extract(epoch from clock_timestamp())::float8, $9, $10)
on conflict (id) do update set seen_at = clock_timestamp(), clock_skew_s = excluded.clock_skew_s,
    texts_per_s = excluded.texts_per_s, picture_views_per_s = excluded.picture_views_per_s

-- name: announce_sleep
-- Marks the watches $1 as asleep for $2 seconds, those of $3 as awake. Skips locked rows.
select sidecar_internal.mark_asleep($1, $2, $3)

-- name: delete_sidecar
-- Primary key.
delete from sidecar_internal.sidecars where id = $1

-- name: record_progress
-- $2 rows embedded since the last call, $3 their mean lag in ms or NULL. Nothing for a watch whose table was dropped. `drawn` is at
-- or above every generation in the ledger while drawn_at = updated_at, which raise_generation reads: a sidecar of the version
-- before sets updated_at alone.
insert into sidecar_internal.progress (watch_id, embedded_total, lag_ms, drawn, drawn_at, updated_at)
select w.id, $2::bigint, $3::float8, pg_sequence_last_value('sidecar_internal.generation'), c.now, c.now
    from sidecar_internal.watches w, (select clock_timestamp() as now offset 0) c where w.id = $1 for key share of w
on conflict (watch_id) do update set embedded_total = progress.embedded_total + excluded.embedded_total,
    lag_ms = coalesce(excluded.lag_ms, progress.lag_ms), drawn = greatest(progress.drawn, excluded.drawn),
    drawn_at = excluded.drawn_at, updated_at = excluded.updated_at
