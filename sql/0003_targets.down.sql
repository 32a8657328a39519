drop function sidecar.warn_of_updates(sidecar.watches);
drop function sidecar.check_companion(sidecar.watches);
drop function sidecar.create_companion(sidecar.watches, text);
drop function sidecar.companion_name(regclass, text);
drop function sidecar.add_target(sidecar.watches);
drop function sidecar.target_is_missing(sidecar.watches);
