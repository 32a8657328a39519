-- Undoes 0011_change.up.sql.

drop function sidecar.uninstall(boolean), sidecar.used_by_others(), sidecar.drop_stray_triggers(sidecar.watches),
    sidecar.retype_ledger(integer, text[], text[]), sidecar.follow_changes(regclass, text),
    sidecar.rename_former_target(regclass, text), sidecar.take_up_names(sidecar.watches, sidecar.watches),
    sidecar.forget_watch(integer), sidecar.structure_fault(sidecar.watches), sidecar.with_present_names(sidecar.watches),
    sidecar.columns_of_trigger(sidecar.watches, regclass, text), sidecar.verify(regclass, text);

create or replace function sidecar.unwatch(relation regclass, target text default null, drop_target boolean default false) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar.watches := sidecar.find_watch(relation, target);
    is_there boolean := exists (select from pg_class c where c.oid = unwatch.relation);
begin
    if w.id is null or (w.unwatched_at is not null and not drop_target) then
        w := sidecar.need_watch(relation, target);
    end if;
    select * into w from sidecar.watches x where x.id = w.id and (x.unwatched_at is null or drop_target) for update;
    if not found then
        raise exception 'table % is not watched any longer', relation using errcode = 'undefined_object',
            hint = 'Another session has just ended the watch.';
    end if;
    perform sidecar.release_tables(w);
    if drop_target and exists (select from pg_class c where c.oid = coalesce(w.companion, w.relation)) then
        perform sidecar.drop_target(w);
    end if;
    perform sidecar.drop_queue(w.id, keep_ledger => is_there and not drop_target);
    if is_there and not drop_target then
        update sidecar.watches x set unwatched_at = now(), paused = false, broken = null where x.id = w.id;
    else
        delete from sidecar.watches x where x.id = w.id;
    end if;
    perform pg_notify('sidecar_watches', '');
end $$;

create or replace function sidecar.release_tables(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    home regclass;
begin
    for home in select t.home from sidecar.triggers_of(w) t group by t.home order by t.home = w.relation desc loop
        perform sidecar.lock_table(home, 'access exclusive');
    end loop;
    perform sidecar.drop_triggers(w);
end $$;

create or replace function sidecar.drop_queue(watch_id integer, keep_ledger boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
begin
    if not keep_ledger then
        execute format('drop table if exists sidecar.ledger_%s', watch_id);
    end if;
    execute format('drop table if exists sidecar.events_%1$s, sidecar.delayed_%1$s', watch_id);
    execute format('drop function if exists sidecar.enqueue_%1$s_statement(), sidecar.enqueue_%1$s_row()', watch_id);
    delete from sidecar.dead_letters d where d.watch_id = drop_queue.watch_id;
    delete from sidecar.scans s where s.watch_id = drop_queue.watch_id;
    delete from sidecar.breakages b where b.watch_id = drop_queue.watch_id;
end $$;

create or replace function sidecar.is_intact(w sidecar.watches, key_columns text[], key_types text[]) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select (w.key_columns, w.key_types) = (is_intact.key_columns, is_intact.key_types)
        and w.broken is null and not exists (select from sidecar.breakages b where b.watch_id = w.id) and sidecar.triggers_fit(w);
$$;

create or replace function sidecar.fault_of(w sidecar.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    forget text := format('select sidecar.unwatch(%s, %L)', w.relation::oid, w.target);
begin
    if not exists (select from pg_class c where c.oid = w.relation) then
        return 'the table is gone: ' || forget;
    elsif w.companion is not null and not exists (select from pg_class c where c.oid = w.companion) then
        return 'the companion table is gone: call sidecar.watch again with replace => true';
    elsif exists (select from sidecar.breakages b where b.watch_id = w.id) then
        return (select string_agg(distinct b.message, '; ') || ': call sidecar.watch again'
                from sidecar.breakages b where b.watch_id = w.id);
    elsif w.broken is not null then
        return w.broken || ': call sidecar.watch again';
    elsif not sidecar.triggers_fit(w) then
        return 'a trigger is missing, disabled or out of date: call sidecar.watch again';
    end if;
    return null;
end $$;

create or replace function sidecar.start_scan(watch_id integer, purpose text, force boolean default false) returns void
language sql set search_path = pg_catalog, pg_temp as $$
    insert into sidecar.scans (watch_id, purpose, force) values (watch_id, purpose, force)
    on conflict (watch_id, purpose) do update
        set last_key = null, force = excluded.force or (scans.force and scans.finished_at is null),
            started_at = now(), finished_at = null;
$$;

delete from sidecar.scans where purpose = 'verify';
alter table sidecar.scans drop column rows_seen, drop column bytes_seen, drop column found, drop column next_page_at;
alter table sidecar.scans drop constraint scans_purpose_check;
alter table sidecar.scans add constraint scans_purpose_check check (purpose in ('clear', 'backfill', 'sweep'));
