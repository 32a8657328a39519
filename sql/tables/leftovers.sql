-- What is left of watches that no row tells of, as statements that drop it: the tables of their queues, and their trigger
-- functions with the triggers that stand on users' tables. A restore of the schema without its rows leaves all of them.
-- Until 0019 they stand in schema `sidecar`: the caller puts that name in place of `sidecar_internal`.
-- Triggers that call a function of all watches are the table owner's to drop; they do nothing without their watch.
with numbered as (
    select substring(c.relname from '_(\d+)$')::integer as watch_id, 1 as position, format('drop table %s', c.oid::regclass) as statement
        from pg_class c
        where c.relnamespace = 'sidecar_internal'::regnamespace and c.relkind in ('r', 'p') and c.relname ~ '^(events|delayed|ledger|former)_\d{1,9}$'
    union all
    select substring(p.proname from '^enqueue_(\d+)_')::integer, 0, format('drop function %s cascade', p.oid::regprocedure)
        from pg_proc p
        where p.pronamespace = 'sidecar_internal'::regnamespace and p.prorettype = 'trigger'::regtype and p.proname ~ '^enqueue_\d{1,9}_'
    union all
    select substring(t.tgname from '^sidecar_(\d+)_')::integer, 0, format('drop trigger %I on %s', t.tgname, t.tgrelid::regclass)
        from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_class c on c.oid = t.tgrelid
        where p.pronamespace = 'sidecar_internal'::regnamespace and p.proname !~ '^enqueue_\d' and t.tgname ~ '^sidecar_\d{1,9}_' and t.tgparentid = 0
          and pg_has_role(c.relowner, 'usage')
)
select n.watch_id, n.statement from numbered n
    where not exists (select from sidecar_internal.watches w where w.id = n.watch_id) order by n.watch_id, n.position, n.statement
