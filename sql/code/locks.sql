-- Locks on users' tables and on ours, for what changes both: sidecar.watch, unwatch, uninstall.
--
-- Nothing waits long while it holds a user's table, whatever blocks it: a dashboard that has read sidecar.status and is idle in its
-- transaction, pg_dump, a forgotten session. Our own tables cannot be locked first: users' triggers write to them while holding
-- the user's table, which would deadlock. So everything is done in tries, each a block of its own: it waits up to 2 s for a user's
-- table, so that sessions queued behind us get their turn in between, then up to 500 ms for each table of ours. A try that times
-- out is undone, which unlocks the user's table; after five tries, or after the caller's own lock_timeout, an error names the
-- sessions that hold the lock.

-- Lock timeouts for a call: number of tries, and the wait for a user's table (`theirs`) and for tables of ours in each. `own`
-- is the caller's lock_timeout, `began` the present time.
create or replace function sidecar_internal.wait_limits(out tries integer, out theirs text, out ours text, out own text, out began timestamptz)
language sql volatile set search_path = pg_catalog, pg_temp as $$
    select case when ms = 0 then 5 else 1 end, format('%sms', case when ms = 0 then 2000 else ms end),
           format('%sms', case when ms = 0 then 500 else least(ms, 500) end), printed, clock_timestamp()
    from (select s.setting::integer as ms, current_setting('lock_timeout') as printed from pg_settings s where s.name = 'lock_timeout') x;
$$;

-- Locks a user's table, waiting at most `theirs`. Later waits in the transaction are limited to `ours`.
create or replace function sidecar_internal.lock_table(relation regclass, mode text, limits record) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('lock_timeout', limits.theirs, true);
    execute format('lock table %s in %s mode', relation, mode);
    perform set_config('lock_timeout', limits.ours, true);
end $$;

-- Raises lock_not_available after the last try, and names the table that is in use and the sessions that have held it since
-- before the first. Looks first for a user's table that is being written to, then for tables of the watch (or of all watches if
-- `watch_id` is NULL), then for a user's table that is being read.
create or replace function sidecar_internal.raise_in_use(relation regclass, companion regclass, watch_id integer, own_timeout text, began timestamptz)
returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    held record;
begin
    select l.relation::regclass as name,
           string_agg(distinct coalesce(format('process %s (%s)', l.pid, concat_ws(', ', nullif(a.application_name, ''), a.state,
               'its transaction began at ' || date_trunc('second', a.xact_start)::text)), 'a prepared transaction'), '; ') as holders
        into held
        from pg_locks l left join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'relation' and l.granted and l.pid is distinct from pg_backend_pid()
          and (a.pid is null or a.state is null or a.xact_start <= began) -- prepared, hidden from us, or open since before the first try
          and l.database = (select d.oid from pg_database d where d.datname = current_database())
          and (l.relation in (raise_in_use.relation, raise_in_use.companion)
               or l.relation in (select x.companion_view from sidecar_internal.watches x where x.id = raise_in_use.watch_id)
               or l.relation in (select c.oid from pg_class c where c.relnamespace in ('sidecar'::regnamespace, 'sidecar_internal'::regnamespace) and c.relkind in ('r', 'v', 'S')
                   and (raise_in_use.watch_id is null or c.relname ~ format('^(events|delayed|ledger|former|asleep)_%s$', raise_in_use.watch_id))))
        group by l.relation
        order by case when not coalesce(l.relation in (raise_in_use.relation, raise_in_use.companion), false) then 1
                      when bool_or(l.mode not in ('AccessShareLock', 'RowShareLock')) then 0 else 2 end, l.relation
        limit 1;
    raise exception 'table % is in use: it could not be locked within %', coalesce(held.name, relation),
            case own_timeout when '0' then '10s' else own_timeout end
        using errcode = 'lock_not_available',
              hint = coalesce(held.holders || ' holds it. ', 'A transaction that uses it is still open. ')
                  || 'Nothing was changed; try again when it is over, or end it: select pg_terminate_backend(...).';
end $$;
