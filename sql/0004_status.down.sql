drop view sidecar.failures;
drop function sidecar.status_exact(regclass);
drop view sidecar.status;
drop function sidecar.status_of(regclass, boolean);
drop function sidecar.state_of(sidecar.watches, bigint);
drop function sidecar.search_statement(sidecar.watches);
drop function sidecar.index_statement(sidecar.watches);
drop function sidecar.find_index(regclass, text);
drop function sidecar.count_rows(regclass, boolean);
