-- Functions whose parameters got other names, which `create or replace` cannot change: today's code creates them again.
drop function if exists sidecar_internal.exact_keys(sidecar_internal.watches, regclass, text),
    sidecar_internal.find_index(regclass, text), sidecar_internal.usable_indexes(sidecar_internal.watches, regclass),
    sidecar_internal.is_worked_on(regclass), sidecar_internal.index_name(sidecar_internal.watches, regclass, regclass),
    sidecar_internal.create_trigger(sidecar_internal.watches, text, text, regclass, text, text),
    sidecar_internal.count_foreign_vectors(sidecar_internal.watches, integer), sidecar_internal.triggers_of(sidecar_internal.watches),
    sidecar_internal.columns_of_trigger(sidecar_internal.watches, regclass, text);
