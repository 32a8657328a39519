-- The way down to nothing: everything in schema `sidecar` but Alembic's own table. Refused before while something is watched.
do $$
declare
    dropped text;
begin
    drop function if exists sidecar.status_exact(regclass);  -- its type is the view's
    for dropped in
        select format('drop view %s', string_agg(c.oid::regclass::text, ', ')) from pg_class c
            where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'v' having count(*) > 0
        union all
        select format('drop routine %s', string_agg(p.oid::regprocedure::text, ', ')) from pg_proc p
            where p.pronamespace = 'sidecar'::regnamespace having count(*) > 0
        union all
        select format('drop table %s', string_agg(c.oid::regclass::text, ', ')) from pg_class c
            where c.relnamespace = 'sidecar'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'alembic_version' having count(*) > 0
        union all
        select format('drop sequence %s', string_agg(c.oid::regclass::text, ', ')) from pg_class c
            where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'S'
              and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i'))
            having count(*) > 0
    loop
        execute dropped;
    end loop;
end $$;
