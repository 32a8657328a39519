-- Undoes 0015_search.up.sql.
drop function sidecar.hybrid_search;
drop function sidecar.hybrid_statement;
drop function sidecar.search_condition;
drop function sidecar.search_document;
