drop function sidecar.check_options(text, text[], integer, text);
drop function sidecar.kind_of_column(regclass, text);
drop function sidecar.kind_of_source(regclass, text[], text);
drop function sidecar.check_key_types(regclass);
drop function sidecar.base_type(oid, integer);
drop function sidecar.primary_key_of(regclass);
drop function sidecar.check_relation(regclass);
drop function sidecar.warn_of_old_pgvector();
drop function sidecar.vector_schema();
