-- Searches have pages (sql/code/search_page.sql), whose statement takes the place of this one.
drop function if exists sidecar_internal.search_exposed_statement(sidecar_internal.watches, text[], jsonb, text[]);
