-- Scans, which read a whole watched table in key order.

-- Starts a scan from the first key, whatever the state of an earlier one.
create or replace function sidecar_internal.start_scan(watch_id integer, purpose text, force boolean default false) returns void
language sql set search_path = pg_catalog, pg_temp as $$
    insert into sidecar_internal.scans (watch_id, purpose, force, start_gen)
        values (watch_id, purpose, force, pg_sequence_last_value('sidecar_internal.generation'))
    on conflict (watch_id, purpose) do update
        set last_key = null, phase = 'rows', force = excluded.force or (scans.force and scans.finished_at is null),
            started_at = now(), finished_at = null, start_gen = excluded.start_gen, passed_by = '{}', rows_seen = 0, bytes_seen = 0, found = 0, next_page_at = '-infinity';
$$;

-- Starts a scan that compares every row with its ledger entry and enqueues differences: contents changed while triggers were
-- off, overwritten vectors, missing entries. Progress and the number found are in sidecar.scans.
create or replace function sidecar.verify(relation regclass, target text default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
begin
    perform sidecar_internal.start_scan(w.id, 'verify');
    perform pg_notify('sidecar_watches', '');
end $$;
comment on function sidecar.verify is
    'Has a running sidecar compare every row and vector of a watch with what it recorded, and enqueue what differs. Progress is in '
    'sidecar.scans.';
