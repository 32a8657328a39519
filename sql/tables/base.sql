-- The way down to nothing: everything in schemas `sidecar` and `sidecar_internal` but Alembic's own table. Refused before while
-- something is watched. Without CASCADE: what users made out of it stops it.
do $$
declare
    ours constant oid[] := array[to_regnamespace('sidecar')::oid, to_regnamespace('sidecar_internal')::oid];
    dropped text;
begin
    drop function if exists sidecar.status_exact(regclass);  -- its type is the view's
    for dropped in
        select format('drop view %s', string_agg(c.oid::regclass::text, ', ')) from pg_class c
            where c.relnamespace = any (ours) and c.relkind = 'v' having count(*) > 0
        union all
        select format('drop routine %s', string_agg(p.oid::regprocedure::text, ', ')) from pg_proc p
            where p.pronamespace = any (ours) having count(*) > 0
        union all
        select format('drop table %s', string_agg(c.oid::regclass::text, ', ')) from pg_class c
            where c.relnamespace = any (ours) and c.relkind in ('r', 'p') and c.relname <> 'alembic_version' having count(*) > 0
        union all
        select format('drop sequence %s', string_agg(c.oid::regclass::text, ', ')) from pg_class c
            where c.relnamespace = any (ours) and c.relkind = 'S'
              and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i'))
            having count(*) > 0
    loop
        execute dropped;
    end loop;
    drop schema if exists sidecar_internal;
    comment on schema sidecar is null;
end $$;
