-- Watches may have an index of another access method than hnsw, and storage parameters of their own. index_kind remains the type of
-- vector that the index is on, or 'none': sidecars of the version before read nothing else.
alter table sidecar_internal.watches
    add column index_method text not null default 'hnsw',
    add column index_options text[] not null default '{}'; -- as in pg_class.reloptions: {m=24,ef_construction=128}

-- Functions that take other arguments: today's code creates them again.
drop function if exists sidecar_internal.check_options(text, text[], integer, text, text),
    sidecar_internal.ef_search_statement(integer);
