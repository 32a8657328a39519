-- Filters are compiled by functions of their own (sql/code/filters.sql); those that knew equality only are gone.
drop function if exists sidecar_internal.search_condition(jsonb), sidecar_internal.check_filter(sidecar_internal.watches, jsonb),
    sidecar_internal.filtered_column(sidecar_internal.watches, text, text);
