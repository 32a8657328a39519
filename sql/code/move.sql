-- Watches whose vectors move to another place, or whose key changes its type: the ledger follows, and vectors are copied.

-- Gives the ledger of a former watch the key's new types. Returns false if a key cannot be converted, which makes the ledger
-- useless.
create or replace function sidecar_internal.retype_ledger(watch_id integer, former_types text[], wanted_types text[]) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set extra_float_digits = 1 set datestyle = 'ISO, YMD' set intervalstyle = 'postgres'
set timezone = 'UTC' set bytea_output = 'hex' set lc_monetary = 'C' as $$
declare
    w sidecar_internal.watches := (select x from sidecar_internal.watches x where x.id = watch_id);
    ledger regclass := to_regclass(format('sidecar_internal.ledger_%s', watch_id));
    definitions text[];
begin
    if ledger is null or (former_types = wanted_types and sidecar_internal.key_fault(w) is null) then
        return true;
    elsif cardinality(former_types) <> cardinality(wanted_types) then
        return false;
    -- A cast of a user-defined type would be looked up, and run with our rights. Or the type has only the name of the former one.
    elsif exists (select from pg_attribute a where a.attrelid = ledger and a.attname ~ '^k[0-9]+$' and a.atttypid >= 16384)
            or exists (select from unnest(wanted_types) u(type) where to_regtype(u.type)::oid >= 16384) then
        return false;
    end if;
    definitions := (sidecar_internal.primary_key_of(w.relation)).definitions;
    execute format('alter table %s %s', ledger, (
        select string_agg(format('alter column k%1$s type %2$s using k%1$s::text::%3$s', i, definitions[i], wanted_types[i]), ', ')
        from generate_subscripts(wanted_types, 1) i));
    return true;
exception when data_exception or integrity_constraint_violation then
    return false;
end $$;

-- Keeps the ledger of vectors in their former place as former_N, for move_page. The ledger starts empty: it always describes
-- the new place, and status counts from it.
create or replace function sidecar_internal.start_move(former sidecar_internal.watches, saved sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
declare
    old_ledger constant text := format('sidecar_internal.former_%s', saved.id);
    new_table constant regclass := coalesce(saved.companion, saved.relation);
    old_table constant regclass := coalesce(former.companion, former.relation);
    is_under_way boolean := false;
    worker regrole;
begin
    if to_regclass(old_ledger) is not null then
        execute format('select exists (select from %s)', old_ledger) into is_under_way;
    end if;
    if is_under_way and former.moved_from = new_table and former.moved_fingerprint = former.fingerprint then
        -- The move is reversed. Entries of both ledgers are good: a vector counts only if it has the digest of its entry.
        if former.storage = saved.storage then
            execute format('insert into sidecar_internal.former_%1$s select * from sidecar_internal.ledger_%1$s on conflict do nothing', saved.id);
            perform sidecar_internal.rename_ledger(saved.id, 'former', 'ledger');
            update sidecar_internal.watches x set moved_from = null where x.id = saved.id;
            return;
        end if;
        -- The ledgers change places: what was moved has the digests of the other type, by which it moves back.
        perform sidecar_internal.rename_ledger(saved.id, 'ledger', 'moved'), sidecar_internal.rename_ledger(saved.id, 'former', 'ledger'),
                sidecar_internal.rename_ledger(saved.id, 'moved', 'former');
    else
        perform sidecar_internal.rename_ledger(saved.id, 'ledger', 'former');
    end if;
    update sidecar_internal.watches x set moved_from = old_table, moved_fingerprint = saved.fingerprint where x.id = saved.id;
    perform sidecar_internal.start_scan(saved.id, 'move');
    for worker in select r.role from sidecar_internal.roles() r
                  where r.kind = 'worker' and exists (select from pg_attribute a
                                                      where a.attrelid = old_table and a.attname = former.target and not a.attisdropped) loop
        execute format('grant select (%s, %I) on %s to %s', sidecar_internal.for_each_key(former.key_columns, null, '%2$I'), former.target, old_table, worker);
    end loop;
end $$;

-- Renames the table and its indexes, for example ledger_1 to former_1. An existing table of the wanted name is dropped.
create or replace function sidecar_internal.rename_ledger(watch_id integer, present text, wanted text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('drop table if exists sidecar_internal.%s_%s', wanted, watch_id);
    execute format('alter table sidecar_internal.%1$s_%3$s rename to %2$s_%3$s; alter index sidecar_internal.%1$s_%3$s_pkey rename to %2$s_%3$s_pkey; '
                   'alter index sidecar_internal.%1$s_%3$s_tombstones rename to %2$s_%3$s_tombstones; '
                   'alter index sidecar_internal.%1$s_%3$s_exceptions rename to %2$s_%3$s_exceptions', present, wanted, watch_id);
end $$;

-- Copies the next vectors to their new place, with their ledger entries, if they still match the entry and their row exists.
-- Where the new place stores them in another type, they are cast to it, and so are the digests of their entries.
-- Rows that are locked or were embedded since are left to the backfill, which follows; rows of an older companion whose source
-- is gone are left to the sweep after it. Returns the number of entries looked at; fewer than `max_rows` means that the move is
-- finished. Locks in the order of completion: watch (FOR SHARE), rows, ledger.
create or replace function sidecar_internal.move_page(watch_id integer, max_rows integer) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp set row_security = off as $$
declare
    w sidecar_internal.watches;
    looked_at bigint := 0;
    first_place tid;
    last_place tid;
    is_left boolean;
    to_row boolean;
    former_type text;
    stored text;
begin
    select * into w from sidecar_internal.watches x where x.id = watch_id and x.unwatched_at is null for share;
    to_row := w.companion is null;
    former_type := format('%I.%I', sidecar_internal.vector_schema(), sidecar_internal.storage_of(w.moved_from, w.target));
    stored := sidecar_internal.stored_type(w);
    first_place := coalesce((select s.last_key[1]::tid from sidecar_internal.scans s where s.watch_id = w.id and s.purpose = 'move'), '(0,0)');
    perform set_config('sidecar.writer', 'on', true);
    -- Nothing is copied if the watch wants another model by now, or the former table of the vectors is gone.
    if to_regclass(format('sidecar_internal.former_%s', w.id)) is not null
            and sidecar_internal.storage_of(w.moved_from, w.target) is not null
            and w.fingerprint = w.moved_fingerprint then
        execute format($sql$
            with page as (
                delete from sidecar_internal.former_%1$s f
                where f.ctid = any (array(select x.ctid from sidecar_internal.former_%1$s x where x.ctid > $2 limit $1)) returning f.ctid as place, f.*
            ), found as materialized (
                select p.*, sidecar_internal.exactly(null::%7$s, h.%2$I)::%11$s as vector from page p join %3$s t on %5$s join %4$s h on %6$s
                where sha256(%7$s_send(sidecar_internal.exactly(null::%7$s, h.%2$I))) = p.vector_digest %8$s
            ), recorded as (
                insert into sidecar_internal.ledger_%1$s (%9$s, gen, content_hash, vector_digest, truncated, unreadable, embedded_at)
                select %9$s, gen, content_hash, %12$s, truncated, unreadable, embedded_at from found order by %9$s
                on conflict (%9$s) do nothing returning %9$s
            ), written as (%10$s)
            select count(*), max(place) from page
        $sql$, w.id, w.target, w.relation, w.moved_from, sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = p.k%1$s', ' and '),
            sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.moved_from, 'h'), '%3$s = p.k%1$s', ' and '), former_type,
            case when to_row then 'for no key update of t skip locked' else '' end, sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'),
            case when to_row then
                format('update %s t set %2$I = sidecar_internal.exactly(t.%2$I, f.vector) from found f join recorded r using (%3$s) where %4$s', w.relation, w.target,
                       sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'), sidecar_internal.for_each_key(w.key_columns, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = f.k%1$s', ' and '))
            else
                format('insert into %1$s (%2$s, %3$I) select %5$s, sidecar_internal.exactly((null::%1$s).%3$I, f.vector) from found f '
                       'join recorded r using (%4$s) on conflict (%2$s) do update set %3$I = excluded.%3$I', w.companion,
                       sidecar_internal.for_each_key(w.key_columns, null, '%2$I'), w.target, sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'),
                       sidecar_internal.companion_values(w, 'f'))
            end, stored, case when stored = former_type then 'vector_digest' else format('sha256(%s_send(vector))', stored) end) into looked_at, last_place
            using max_rows, first_place;
        -- Remembers where the page ended: from the start, each page would step over all rows that earlier pages deleted.
        update sidecar_internal.scans s set last_key = array[last_place::text]
            where s.watch_id = w.id and s.purpose = 'move' and last_place is not null;
        -- In a restored database the entries lie elsewhere, and some before that place.
        if looked_at < max_rows and first_place > '(0,0)' then
            execute format('select exists (select from sidecar_internal.former_%s)', w.id) into is_left;
            if is_left then
                update sidecar_internal.scans s set last_key = null where s.watch_id = w.id and s.purpose = 'move';
                return max_rows;
            end if;
        end if;
    end if;
    return looked_at;
end $$;

-- Decides what becomes of a ledger when a watch starts again. A ledger describes vectors in one place and of one model: it is
-- dropped if a reembed has reset the model, and kept for the move if the vectors go to another place.
create or replace function sidecar_internal.prepare_ledger(former sidecar_internal.watches, saved sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    has_vectors boolean;
begin
    if to_regclass(format('sidecar_internal.ledger_%s', saved.id)) is null then
        return;
    elsif saved.fingerprint is null then -- unwatched after a reembed, before the old vectors were cleared
        execute format('select exists (select from sidecar_internal.ledger_%s l where l.vector_digest is not null)', saved.id) into has_vectors;
        execute format('drop table sidecar_internal.ledger_%s', saved.id);
        if has_vectors then
            perform sidecar_internal.start_scan(saved.id, 'clear');
        end if;
        return;
    elsif former.companion is not distinct from saved.companion then
        return;
    end if;
    perform sidecar_internal.start_move(former, saved);
    raise notice 'the vectors of % are moving from % to %: sidecar.status shows the progress', saved.relation,
            coalesce(former.companion, former.relation), coalesce(saved.companion, saved.relation)
        using hint = 'Search the new place from now on. When all have moved, and not before, drop the former one: '
            || case when former.companion is null then format('alter table %s drop column %I;', former.relation, former.target)
               else format('drop table %s;', former.companion) end;
end $$;
