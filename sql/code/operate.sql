-- sidecar.pause, resume, retry, reembed and set_rate.

-- Sets `paused` of the matching watches and returns how many changed. Waits a few ms for completions in flight, which hold the
-- watch's row FOR SHARE.
create or replace function sidecar_internal.set_paused(relation regclass, target text, paused boolean) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    meant constant integer[] := array(select m.id from sidecar_internal.watches_meant(relation, target) m);
    changed integer;
begin
    update sidecar_internal.watches w set paused = set_paused.paused
        where w.unwatched_at is null and w.paused is distinct from set_paused.paused
          and w.id = any (meant);
    get diagnostics changed = row_count;
    perform pg_notify('sidecar_watches', '');
    return changed;
end $$;

-- Pauses one watch, all watches of a table, or (no arguments) all. Returns how many it changed.
create or replace function sidecar.pause(relation regclass default null, target text default null) returns integer
language sql set search_path = pg_catalog, pg_temp as $$ select sidecar_internal.set_paused(relation, target, true) $$;
comment on function sidecar.pause is
    'Pauses one watch, all watches of a table, or (without arguments) all watches. Changes are recorded and embedded after '
    'sidecar.resume. Returns how many watches it changed.';

-- The opposite of pause.
create or replace function sidecar.resume(relation regclass default null, target text default null) returns integer
language sql set search_path = pg_catalog, pg_temp as $$ select sidecar_internal.set_paused(relation, target, false) $$;
comment on function sidecar.resume is
    'Resumes one watch, all watches of a table, or (without arguments) all watches. Returns how many it changed.';

-- Enqueues failed rows again: one key, one reason, or all. Returns how many. It only inserts events: the failures are deleted
-- when the rows are completed. Warns of those that fail again as long as their content is the same.
create or replace function sidecar.retry(relation regclass, target text default null, key jsonb default null, reason text default null)
returns bigint language plpgsql set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, YMD' set intervalstyle = 'postgres' set timezone = 'UTC' set lc_monetary = 'C' as $$
declare
    w sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    wanted_key jsonb := case when key is not null then sidecar_internal.canonical_key(w, key) end;
    enqueued bigint;
    hopeless record;
begin
    perform pg_current_xact_id(); -- assigned before a generation is drawn: see read_horizon
    perform sidecar_internal.free_generation(w.id);
    execute format('insert into sidecar_internal.events_%s (%s, force) select %s, true from sidecar_internal.failures d cross join lateral %s
                    where d.watch_id = $1 and ($2 is null or d.key = $2) and ($3 is null or d.reason = $3) and r.k1 is not null',
        w.id, sidecar_internal.for_each_key(w.key_columns, null, 'k%1$s'), sidecar_internal.for_each_key(w.key_columns, null, 'r.k%1$s'),
        sidecar_internal.typed_key(w, 'sidecar_internal.numbered_key($4, coalesce(d.wide_key, d.key))'))
        using w.id, sidecar_internal.failure_key(wanted_key), reason, w;
    get diagnostics enqueued = row_count;
    if enqueued > 0 then
        perform sidecar_internal.wake_sleepers(w.id);
    elsif reason is not null and not exists (select from sidecar_internal.failures d where d.watch_id = w.id and d.reason = retry.reason) then
        raise warning 'no row of %.% failed with the reason %', w.relation, quote_ident(w.target), quote_literal(reason)
            using hint = coalesce((select 'Reasons of its failures: ' || string_agg(distinct d.reason, ', ' order by d.reason) || '.'
                                   from sidecar_internal.failures d where d.watch_id = w.id), 'It has no failures.');
    end if;
    for hopeless in
        select d.reason, count(*) as n from sidecar_internal.failures d
        where d.watch_id = w.id and (wanted_key is null or d.key = sidecar_internal.failure_key(wanted_key))
          and (retry.reason is null or d.reason = retry.reason) and not sidecar_internal.retry_helps(d.reason)
        group by d.reason order by d.reason
    loop
        raise warning '% of %.% failed with %, and will fail again until the content changes',
                      case hopeless.n when 1 then '1 row' else hopeless.n || ' rows' end, w.relation, quote_ident(w.target), hopeless.reason
            using hint = concat_ws(' ', sidecar_internal.advice_on(hopeless.reason), 'To find the rows:',
                                   coalesce(sidecar_internal.rows_statement(w, hopeless.reason), 'select * from sidecar.failures;'));
    end loop;
    return enqueued;
end $$;
comment on function sidecar.retry is
    'Enqueues failed rows of a watch again: one key, all failures with one reason, or all. Returns how many. Warns of rows that '
    'fail again unless their content changes.';

-- Raises if a running sidecar with that model makes vectors of another length: nothing could replace the cleared vectors. Warns
-- of a model that no sidecar runs.
create or replace function sidecar_internal.check_move_to(w sidecar_internal.watches, model text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    named_dimensions integer;
    running text;
begin
    select min(s.dimensions) into named_dimensions from sidecar_internal.sidecars s
        where s.seen_at > clock_timestamp() - interval '30 s' and check_move_to.model in (s.model, s.fingerprint)
        having bool_and(s.dimensions <> w.dimensions);
    if named_dimensions is not null then
        raise exception '% makes vectors of % dimensions, which %.% cannot hold: they have %',
                        check_move_to.model, named_dimensions, w.relation, quote_ident(w.target), w.dimensions
            using errcode = 'invalid_parameter_value',
                  hint = format('Nothing was changed. Watch another target, with dimensions => %s.', named_dimensions);
    end if;
    running := (select string_agg(distinct format('%s (%s, %s dimensions)', s.model, s.fingerprint, s.dimensions), ', ') from sidecar_internal.sidecars s
                where s.seen_at > clock_timestamp() - interval '30 s'
                having not bool_or(s.dimensions = w.dimensions and check_move_to.model in ('any', s.model, s.fingerprint)));
    if running is not null then
        raise warning 'no running sidecar has % and % dimensions (running: %): nothing is embedded until one has',
                      case check_move_to.model when 'any' then 'any model' else 'the model ' || check_move_to.model end, w.dimensions, running;
    end if;
end $$;

-- Embeds all rows again. With `model` (a model id or a fingerprint other than the present one, or 'any' for the first sidecar
-- that claims it) the old vectors are cleared before the first new one is written: a column never holds vectors of two models.
create or replace function sidecar.reembed(relation regclass, target text default null, model text default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
begin
    -- FOR UPDATE waits for completions in flight; later ones see the changed fingerprint and discard their vectors.
    select * into strict w from sidecar_internal.watches x where x.id = w.id for update;
    if reembed.model not in (coalesce(w.fingerprint, ''), coalesce(w.encoder, '')) then
        perform sidecar_internal.check_move_to(w, reembed.model);
        update sidecar_internal.watches x set fingerprint = null, encoder = null, model = nullif(reembed.model, 'any') where x.id = w.id;
        if w.fingerprint is not null then
            perform sidecar_internal.start_scan(w.id, 'clear');
        end if;
    end if;
    perform sidecar_internal.start_scan(w.id, 'backfill', force => true);
    perform pg_notify('sidecar_watches', '');
end $$;
comment on function sidecar.reembed is
    'Embeds all rows of a watch again. model => a model id, a fingerprint or ''any'' moves the watch to another model of the same '
    'number of dimensions; the old vectors are cleared first.';

-- Limits one watch, all watches of a table, or (no table) all, to a number of rows per second, live rows and backfill together.
-- NULL removes the limit. Returns how many watches it changed.
create or replace function sidecar.set_rate(relation regclass default null, target text default null, rows_per_s double precision default null)
returns integer language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    meant constant integer[] := array(select m.id from sidecar_internal.watches_meant(relation, target) m);
    changed integer;
begin
    if set_rate.rows_per_s <= 0 or set_rate.rows_per_s in ('nan', 'infinity') then
        raise exception 'rows_per_s is %', set_rate.rows_per_s using errcode = 'invalid_parameter_value',
            hint = 'Give a number above 0 (0.5 is a row every two seconds), or NULL for no cap; sidecar.pause stops a watch.';
    end if;
    update sidecar_internal.watches w set rows_per_s = set_rate.rows_per_s
        where w.unwatched_at is null and w.rows_per_s is distinct from set_rate.rows_per_s
          and w.id = any (meant);
    get diagnostics changed = row_count;
    perform pg_notify('sidecar_watches', '');
    return changed;
end $$;
comment on function sidecar.set_rate is
    'Limits a watch, all watches of a table, or all watches to a number of rows per second, over all sidecars together. NULL '
    'removes the limit. Returns how many watches it changed.';
