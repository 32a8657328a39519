-- What a person is shown of tables before they are watched.

-- Why sidecar.watch would refuse a table to its owner, whichever columns it is asked for: message, hint and code. NULL if it would not.
-- Reads the catalogue only.
create or replace function sidecar_internal.table_problem(relation regclass, out message text, out hint text, out code text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    perform sidecar_internal.check_relation(relation);
    perform sidecar_internal.primary_key_of(relation);
    perform sidecar_internal.check_key_types(relation);
    perform sidecar_internal.check_row_security(relation);
exception when others then
    get stacked diagnostics message = message_text, hint = pg_exception_hint, code = returned_sqlstate;
end $$;
