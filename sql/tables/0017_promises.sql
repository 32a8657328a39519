-- What keeps promises that the tables of 0016 could not keep. Only what `create or replace` cannot do; code stands in sql/code.

-- Ledgers: a version that never comes back. A constant at first, which writes no row anew; xmin tells the present entries apart.
do $$
declare
    ledger regclass;
begin
    for ledger in select c.oid from pg_class c
                  where c.relnamespace = 'sidecar'::regnamespace and c.relkind = 'r' and c.relname ~ '^(ledger|former)_[0-9]+$' loop
        execute format('alter table %s add column version bigint not null default 0', ledger);
        execute format('alter table %s alter column version set default (floor(random() * 9007199254740992))::bigint', ledger);
    end loop;
end $$;
