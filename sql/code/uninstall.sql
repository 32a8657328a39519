-- sidecar.uninstall.

-- Users' objects that depend on ours and would be dropped with them: views, functions, columns and constraints. NULL if there
-- are none.
create or replace function sidecar_internal.used_by_others() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with ours as (
        select 'pg_class'::regclass as class, c.oid as object from pg_class c where c.relnamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
        union all select 'pg_proc'::regclass, p.oid from pg_proc p where p.pronamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
        union all select 'pg_type'::regclass, t.oid from pg_type t where t.typnamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
    ), dependent as (
        select coalesce(r.ev_class, a.adrelid, c.conrelid, case when d.classid = 'pg_class'::regclass then d.objid end)::regclass::text as relation,
               case when d.classid = 'pg_proc'::regclass then d.objid end::regprocedure::text as routine
            from pg_depend d
            join ours o on o.class = d.refclassid and o.object = d.refobjid
            left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
            left join pg_attrdef a on d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
            left join pg_constraint c on d.classid = 'pg_constraint'::regclass and c.oid = d.objid
            where d.deptype = 'n'
    )
    select string_agg(distinct coalesce(d.relation, d.routine), ', ') from dependent d
        where coalesce(d.relation, d.routine) !~ '^sidecar(_internal)?\.';
$$;

-- Drops both schemas without a NOTICE for each object.
create or replace function sidecar_internal.drop_schemas() returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
begin
    drop schema sidecar, sidecar_internal cascade;
end $$;

-- Drops both schemas and the triggers that call them. The vectors stay: columns, companion tables and their indexes. Notices
-- name all that stays, with the statement that removes it. Waits for locks as locks.sql describes.
create or replace function sidecar.uninstall(force boolean default false) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    running text := (select string_agg(format('%s (process %s)', s.host, s.pid), ', ') from sidecar_internal.sidecars s
                     where s.seen_at > clock_timestamp() - interval '30 s');
    users text := sidecar_internal.used_by_others();
    limits constant record := sidecar_internal.wait_limits();
    w sidecar_internal.watches;
    remains jsonb;
    stays record;
begin
    if running is not null and not force then
        raise exception 'a sidecar is running on this database: %', running using errcode = 'object_in_use',
            hint = 'Stop it first (one that was killed is forgotten after 30 s), or use force.';
    elsif users is not null then
        raise exception 'schema sidecar is used by %', users using errcode = 'dependent_objects_still_exist',
            hint = 'They would be dropped with it: drop or change them first.';
    end if;
    for attempt in 1 .. limits.tries loop
        begin
            perform set_config('lock_timeout', limits.theirs, true);
            perform from sidecar_internal.watches x order by x.id for update;
            -- All of them at once: revoke_table leaves what other watches of the table need.
            update sidecar_internal.watches x set unwatched_at = now() where x.unwatched_at is null;
            for w in select * from sidecar_internal.watches x order by x.id loop
                perform sidecar_internal.release_tables(w, limits);
                perform sidecar_internal.revoke_table(w);
            end loop;
            remains := (select jsonb_agg(r) from sidecar_internal.remains_of_all() r);
            perform sidecar.disable_embed();
            perform sidecar_internal.drop_schemas();
            perform set_config('lock_timeout', limits.own, true);
            for stays in select r.what, r.statement from jsonb_to_recordset(remains) r(what text, statement text) loop
                raise notice '% stays', stays.what using hint = 'To remove it: ' || stays.statement;
            end loop;
            return;
        exception when lock_not_available then
            null; -- The try is undone, and users' tables are unlocked.
        end;
    end loop;
    perform sidecar_internal.raise_in_use(w.relation, w.companion, null, limits.own, limits.began);
end $$;
comment on function sidecar.uninstall is
    'Removes schemas sidecar and sidecar_internal and the sidecar''s triggers. The vectors are kept. force => true does it even while '
    'a sidecar is running.';
