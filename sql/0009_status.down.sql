-- The first step down refuses while something is watched, before anything is gone. (0006 cannot go without its triggers.)
do $$
begin
    if exists (select from sidecar.watches where unwatched_at is null) then
        raise exception 'there are active watches' using errcode = 'dependent_objects_still_exist',
            hint = 'End each of them first: '
                   'select sidecar.unwatch(relation, target) from sidecar.watches where unwatched_at is null;';
    end if;
end $$;
drop view sidecar.failures;
drop function sidecar.status_exact(regclass);
drop view sidecar.status;
drop function sidecar.status_of(regclass, boolean);
drop function sidecar.index_of(sidecar.watches);
drop function sidecar.count_unknown(sidecar.watches);
drop function sidecar.count_ledger(sidecar.watches, boolean);
drop function sidecar.count_queue(sidecar.watches);
drop function sidecar.fault_of(sidecar.watches);
drop function sidecar.state_of(sidecar.watches, bigint);
drop function sidecar.search_statement(sidecar.watches);
drop function sidecar.index_statement(sidecar.watches);
drop function sidecar.find_index(regclass, text);
drop function sidecar.count_rows(regclass, boolean);
