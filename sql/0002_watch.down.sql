-- Refuses while something is watched: dropping the functions would leave triggers that fail users' statements.
do $$
begin
    if exists (select from sidecar.watches where unwatched_at is null) then
        raise exception 'there are active watches' using hint = 'select sidecar.unwatch(…) each of them first: select * from sidecar.watches.';
    end if;
end $$;
do $$
declare
    leftover text;
begin
    for leftover in select format('drop table sidecar.%I', c.relname) from pg_class c
        where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'r' and c.relname ~ '^ledger_[0-9]+$' loop
        execute leftover;
    end loop;
end $$;
drop function sidecar.watch(regclass, text, text, text, text, integer, text, text, boolean);
drop function sidecar.watch(regclass, text[], text, text, text, integer, text, text, boolean);
drop function sidecar.warn_of_updates(regclass, text);
drop function sidecar.unwatch(regclass, text, boolean);
drop function sidecar.need_watch(regclass, text);
drop function sidecar.find_watch(regclass, text);
drop function sidecar.install_watch(integer, text[]);
drop function sidecar.start_scan(integer, text, boolean);
drop function sidecar.create_triggers(integer);
drop function sidecar.drop_triggers(integer, regclass);
drop function sidecar.create_trigger_functions(integer);
drop function sidecar.wake_sleepers();
drop function sidecar.report_breakage(integer, text, text);
drop function sidecar.create_watch_tables(integer, text[]);
drop function sidecar.prepare_companion(regclass, text, text, integer);
drop function sidecar.prepare_target(regclass, text, integer, text[]);
drop function sidecar.kind_of_source(regclass, text[], text);
drop function sidecar.primary_key_of(regclass);
drop function sidecar.check_relation(regclass);
drop function sidecar.vector_schema();
