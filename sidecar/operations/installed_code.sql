-- Statements of installed_code.py: the first ones in the transaction of a migration, those for triggers after it, in autocommit
-- mode with psycopg's parameters.

-- name: prepare
-- The files refer to each other in every direction, so bodies are checked when they run. Operators and types are looked up in
-- pg_catalog only; hybrid_search takes a vector, whose type is in the schema that pgvector was installed in.
select set_config('check_function_bodies', 'off', true),
       set_config('search_path', 'pg_catalog, ' || quote_ident(n.nspname), true)
from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'

-- name: record
-- Records what is installed as a function, which a restore of the schema without its rows brings along, too. {revision} and
-- {digest} are filled in, as the body of a function takes no parameters.
create or replace function sidecar.installation(out revision text, out code_digest text)
language sql immutable set search_path = pg_catalog, pg_temp as $$ select '{revision}', '{digest}' $$;
comment on function sidecar.installation is 'The revision of the sidecar''s tables, and a digest of the installed functions and views.'

-- name: finish
-- A script. A pgvector that is too old is rejected here, not at the first watch. Execute is revoked from public: roles that were
-- granted something get what is new. Watches get today's trigger functions. Locks tables whose owner changes.
-- What a superuser made goes to the installer first: it replaces that with its next migration, and its trigger functions and
-- members call it. A member of the installer that may not become it keeps what it made.
select sidecar_internal.vector_schema();
do $$
declare
    installer constant regrole := sidecar_internal.installer();
    made record;
begin
    for made in
        select format('%s %s', case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, c.oid::regclass) as name
            from pg_class c
            where c.relnamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace) and c.relkind in ('r', 'p', 'v', 'S')
              and c.relowner <> installer
              and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                              and (d.deptype = 'e' or (d.deptype in ('a', 'i') and c.relkind = 'S')))
        union all
        select format('routine %s', p.oid::regprocedure)
            from pg_proc p
            where p.pronamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace) and p.proowner <> installer
              and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e') loop
        execute format('alter %s owner to %s', made.name, installer);
    end loop;
exception when insufficient_privilege then
    raise warning 'what % made stays its own: %', current_user, sqlerrm
        using hint = 'Let the owner of schema sidecar, or a superuser, run: sidecar migrate';
end $$;
revoke all on all routines in schema sidecar, sidecar_internal from public;
select sidecar_internal.renew_grants();
do $$
begin
    perform sidecar_internal.own_queue(w.id) from sidecar_internal.watches w;
    perform sidecar_internal.create_trigger_functions(w) from sidecar_internal.watches w
        where w.unwatched_at is null and exists (select from pg_class c where c.oid = w.relation);
exception when insufficient_privilege then
    raise warning 'queues of present watches stay with who made them: %', sqlerrm;
end $$

-- name: is_public
-- Whether everybody may call something. A restore without privileges opens everything, including trigger functions that run with
-- their owner's rights.
select exists (select from pg_proc p where p.pronamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace)
               and (p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0)))

-- name: watches_with_old_triggers
-- Sequential scan of a small table; catalog look-ups for each watch.
select w.id, w.relation::text from sidecar_internal.watches w
where w.unwatched_at is null and sidecar_internal.has_old_triggers(w) order by w.id

-- name: limit_lock_wait
-- For the transaction. The parameter has its unit.
select set_config('lock_timeout', %s, true)

-- name: renew_triggers
-- Locks the watched table SHARE ROW EXCLUSIVE: its writers wait.
select sidecar.renew_triggers(%s)
