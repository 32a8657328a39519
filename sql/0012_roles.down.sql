-- Undoes 0012_roles.up.sql. Roles keep what they were granted of things that stay.
create or replace function sidecar.install_watch(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    definitions text[] := (sidecar.primary_key_of(w.relation)).definitions;
begin
    perform sidecar.create_queue(w.id, definitions);
    if to_regclass(format('sidecar.ledger_%s', w.id)) is null then
        perform sidecar.create_ledger(w.id, definitions);
    end if;
    perform sidecar.create_trigger_functions(w);
    perform sidecar.create_triggers(w);
    perform sidecar.start_scan(w.id, 'backfill');
    insert into sidecar.progress (watch_id) values (w.id) on conflict do nothing;
    perform pg_notify('sidecar_watches', '');
end $$;

alter function sidecar.status_of(regclass, boolean) security invoker reset row_security;

create or replace function sidecar.check_not_failed(w sidecar.watches, key jsonb, content_hash bytea) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if content_hash = 'failed' then
        raise exception 'row % of % cannot be embedded: %', key, w.relation,
                coalesce((select d.reason || ': ' || d.message from sidecar.dead_letters d
                          where d.watch_id = w.id and d.key = check_not_failed.key), 'unknown reason')
            using errcode = 'SC002', hint = 'Mend the row, or: select sidecar.retry(…). See sidecar.failures.';
    end if;
end $$;

create or replace function sidecar.wait_one_embedded(w sidecar.watches, key jsonb, deadline timestamptz, timeout_ms integer) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    condition text := sidecar.key_condition(w, ours => true);
    wanted_gen bigint;
    entry record;
    pause_s double precision := 0.002;
begin
    perform sidecar.check_row_exists(w, key); -- first, because unwatch locks the user's table before ours
    wanted_gen := sidecar.newest_event(w, key);
    loop
        -- Each statement of a READ COMMITTED transaction takes a new snapshot, so this sees what the sidecar commits.
        execute format('select t.gen, t.content_hash
                        from sidecar.ledger_%s t join sidecar.watches x on x.id = $2 and t.gen > x.truncated_gen
                        where %s and t.content_hash is not null and not exists (select from sidecar.scans s
                            where s.watch_id = $2 and s.purpose = ''clear'' and s.finished_at is null)', w.id, condition)
            into entry using key, w.id;
        if entry.gen >= coalesce(wanted_gen, 0) then
            perform sidecar.check_not_failed(w, key, entry.content_hash);
            return;
        end if;
        perform sidecar.check_row_exists(w, key);
        if clock_timestamp() >= deadline then
            raise exception 'row % of % was not embedded within % ms', key, w.relation, timeout_ms
                using errcode = 'SC001',
                      hint = format('The watch on %s: %s. See sidecar.status.', w.target, sidecar.state_of(w, 1));
        end if;
        perform pg_sleep(least(pause_s, greatest(0, extract(epoch from deadline - clock_timestamp()))));
        pause_s := least(pause_s * 1.5, 0.05);
    end loop;
end $$;

create or replace function sidecar.create_trigger_functions(w sidecar.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    k text := sidecar.for_each_key(w.key_columns, null, 'k%1$s');           -- k1, k2
    rows_key text := sidecar.for_each_key(w.key_columns, null, 'r.%2$I');   -- r.id, r.region
    new_key text := sidecar.for_each_key(w.key_columns, null, 'new.%2$I');
    old_key text := sidecar.for_each_key(w.key_columns, null, 'old.%2$I');
    key_changed text := sidecar.for_each_key(w.key_columns, null,
        'new.%2$I::text collate "C" is distinct from old.%2$I::text collate "C"', ' or ');
begin
    execute format($outer$
        create or replace function sidecar.enqueue_%1$s_statement() returns trigger
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
        begin
            begin
                if tg_op = 'TRUNCATE' then
                    insert into sidecar.events_%1$s select limit 0;
                else
                    insert into sidecar.events_%1$s (%2$s) select %3$s from changed_rows r limit 0;
                end if;
            exception when others then
                perform sidecar.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op = 'TRUNCATE' then
                insert into sidecar.events_%1$s default values;
            else
                insert into sidecar.events_%1$s (%2$s) select %3$s from changed_rows r;
            end if;
            if found then
                perform sidecar.wake_sleepers();
            end if;
            return null;
        end $f$;
    $outer$, w.id, k, rows_key);

    execute format($outer$
        create or replace function sidecar.enqueue_%1$s_row() returns trigger
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
        begin
            begin
                if tg_op <> 'DELETE' then
                    insert into sidecar.events_%1$s (%2$s) select %3$s limit 0;
                else
                    insert into sidecar.events_%1$s (%2$s) select %4$s limit 0;
                end if;
            exception when others then
                perform sidecar.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op <> 'DELETE' then
                insert into sidecar.events_%1$s (%2$s, force) values (%3$s, tg_nargs > 0);
            end if;
            if tg_op = 'DELETE' or (tg_op = 'UPDATE' and (%5$s)) then
                insert into sidecar.events_%1$s (%2$s) values (%4$s);
            end if;
            perform sidecar.wake_sleepers();
            return null;
        end $f$;
    $outer$, w.id, k, new_key, old_key, key_changed);

    execute format('revoke all on function sidecar.enqueue_%1$s_statement(), sidecar.enqueue_%1$s_row() from public', w.id);
end $$;

-- Those that stand call what goes.
select sidecar.create_trigger_functions(w) from sidecar.watches w where w.unwatched_at is null;
drop function sidecar.keys_fit(sidecar.watches, text);
drop function sidecar.rests_on(regtype, regtype);

drop function sidecar.state_of_watch(integer);
drop function sidecar.ledger_entry_of(integer, jsonb);
drop function sidecar.newest_event_of(integer, jsonb);
drop function sidecar.has_its_types(sidecar.watches);
drop function sidecar.check_row_security(regclass);
drop function sidecar.renew_grants();
drop function sidecar.revoke_grants(regrole);
drop function sidecar.check_role(regrole);
drop function sidecar.grant_reader(regrole);
drop function sidecar.grant_worker(regrole);
drop function sidecar.revoke_table(sidecar.watches);
drop function sidecar.grant_schemas(sidecar.watches, regrole);
drop function sidecar.grant_table(sidecar.watches);
drop function sidecar.denial_of(sidecar.watches, name);
drop function sidecar.denials_of(sidecar.watches, name);
drop function sidecar.columns_of(sidecar.watches);
drop function sidecar.rls_hides(regclass, name);
drop function sidecar.own_queue(integer);
drop function sidecar.grant_queue(integer, regrole);
drop function sidecar.queue_of(integer);
drop function sidecar.grant_schema(regrole, text);
drop function sidecar.may_call(text, oid);
drop function sidecar.installer();
drop function sidecar.roles();
alter table sidecar.sidecars drop column role;
