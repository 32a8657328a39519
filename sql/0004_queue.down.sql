-- Ledgers of former watches; active ones are refused by 0006.
do $$
declare
    leftover text;
begin
    for leftover in select format('drop table sidecar.%I', c.relname) from pg_class c
        where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'r' and c.relname ~ '^ledger_[0-9]+$' loop
        execute leftover;
    end loop;
end $$;
drop function sidecar.start_scan(integer, text, boolean);
drop function sidecar.drop_queue(integer, boolean);
drop function sidecar.create_ledger(integer, text[]);
drop function sidecar.create_queue(integer, text[]);
