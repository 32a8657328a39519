drop procedure sidecar.wait_embedded(regclass, jsonb, text, integer);
drop function sidecar.wait_one_embedded(sidecar.watches, jsonb, timestamptz, integer);
drop function sidecar.check_not_failed(sidecar.watches, jsonb, bytea);
drop function sidecar.check_row_exists(sidecar.watches, jsonb);
drop function sidecar.newest_event(sidecar.watches, jsonb);
drop function sidecar.key_condition(sidecar.watches, boolean);
drop function sidecar.is_own_uncommitted(xid);
