-- Refuses while something is watched: dropping the functions would leave triggers that fail users' statements.
do $$
begin
    if exists (select from sidecar.watches where unwatched_at is null) then
        raise exception 'there are active watches' using errcode = 'dependent_objects_still_exist',
            hint = 'End each of them first: '
                   'select sidecar.unwatch(relation, target) from sidecar.watches where unwatched_at is null;';
    end if;
end $$;
drop function sidecar.watch(regclass, text, text, text, text, integer, text, text, boolean);
drop function sidecar.start_watch(sidecar.watches, sidecar.watches, text);
drop function sidecar.is_intact(sidecar.watches, text[], text[]);
drop function sidecar.watch(regclass, text[], text, text, text, integer, text, text, boolean);
drop function sidecar.save_watch(sidecar.watches, sidecar.watches);
drop function sidecar.is_same_watch(sidecar.watches, sidecar.watches);
drop function sidecar.checked_watch(sidecar.watches, text);
drop function sidecar.install_watch(sidecar.watches);
drop function sidecar.unwatch(regclass, text, boolean);
drop function sidecar.drop_target(sidecar.watches);
drop function sidecar.release_tables(sidecar.watches);
drop function sidecar.need_watch(regclass, text);
drop function sidecar.find_watch(regclass, text);
drop function sidecar.lock_table(regclass, text);
