drop function sidecar.raise_generation();
drop function sidecar.highest_generation(text);
drop function sidecar.reembed(regclass, text, text);
drop function sidecar.retry(regclass, text, jsonb, text);
drop function sidecar.resume(regclass, text);
drop function sidecar.pause(regclass, text);
drop function sidecar.set_paused(regclass, text, boolean);
drop function sidecar.canonical_key(sidecar.watches, jsonb);
