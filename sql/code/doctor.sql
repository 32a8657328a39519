-- What `sidecar doctor` and `sidecar plan` look at.

-- The roles that the sidecar runs as: those of running sidecars; if there are none, those with a worker's grants; if there are
-- none, the current user.
create or replace function sidecar_internal.serving_roles() returns setof name
language sql stable set search_path = pg_catalog, pg_temp as $$
    with running as (
        select distinct s.role from sidecar_internal.sidecars s where s.seen_at > clock_timestamp() - interval '30 s'
    ), granted as (
        select pg_get_userbyid(r.role) as role from sidecar_internal.roles() r where r.kind = 'worker'
    )
    select role from running
    union select role from granted where not exists (select from running)
    union select current_user where not exists (select from running) and not exists (select from granted);
$$;

-- True if the queue is so long that asking for each of a few hundred rows whether it waits would read it too often. Dead rows alone
-- make it long only from 64 MB on.
create or replace function sidecar_internal.has_long_queue(w sidecar_internal.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    with queue as (
        select q, pg_relation_size(q) as bytes
        from unnest(array[format('sidecar_internal.events_%s', w.id), format('sidecar_internal.delayed_%s', w.id)]) u(name), to_regclass(u.name) q
        where q is not null
    )
    select coalesce(sum(bytes) > 64 * 1024 * 1024
                    or sum(bytes) > 1024 * 1024 and sum((select c.n from sidecar_internal.count_rows(q, false) c where bytes > 0)) > 0, false)
    from queue;
$$;

-- The number of rows of a companion whose watched row is gone and for which no event is queued. Counts at most `at_most`, of a large
-- companion in a sample of its pages. Anti-joins by the primary keys.
create or replace function sidecar_internal.count_vectors_without_row(w sidecar_internal.watches, at_most integer) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    vector_key constant text[] := sidecar_internal.exact_keys(w, w.companion, 'h');
    pages constant double precision := greatest(1, pg_relation_size(w.companion) / current_setting('block_size')::integer);
    n bigint;
begin
    execute format('select count(*) from (select from %s h tablesample system (%s) where not exists (select from %s t where %s)
                                          and not exists (select from %s where %s) limit $1) o',
        w.companion, least(100, 100 * 512 / pages), w.relation, sidecar_internal.for_each_key(vector_key, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and '),
        sidecar_internal.pending_of(w), sidecar_internal.for_each_key(w.key_columns, vector_key, 'e.k%1$s = %3$s', ' and ')) into n using at_most;
    return n;
end $$;

-- Of a sample of up to `at_most` vectors: how many were written by something other than a sidecar without any queued event.
-- They have another length, no ledger entry, or another digest than their entry.
create or replace function sidecar_internal.count_foreign_vectors(w sidecar_internal.watches, at_most integer, out looked bigint, out foreign_vectors bigint)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    vector_table regclass := coalesce(w.companion, w.relation);
    vector_key constant text[] := sidecar_internal.exact_keys(w, vector_table, 'h');
    rows bigint := greatest((sidecar_internal.count_rows(vector_table, false)).n, 1);
    ext text := quote_ident(sidecar_internal.vector_schema());
begin
    execute format('select count(*), count(*) filter (where (%1$s.vector_dims(sidecar_internal.exactly(null::%9$s, h.%2$I)) <> $2
                               or sha256(%9$s_send(sidecar_internal.exactly(null::%9$s, h.%2$I))) is distinct from l.vector_digest)
                           and not exists (select from %8$s where %4$s))
                    from (select * from %5$s t tablesample system (%6$s) where t.%2$I is not null limit $1) h
                    left join sidecar_internal.ledger_%3$s l on %7$s',
        ext, w.target, w.id, sidecar_internal.for_each_key(w.key_columns, vector_key, 'e.k%1$s = %3$s', ' and '), vector_table,
        least(100, 200.0 * at_most / rows), sidecar_internal.for_each_key(w.key_columns, vector_key, 'l.k%1$s = %3$s', ' and '), sidecar_internal.pending_of(w),
        format('%s.%s', ext, w.storage)) into looked, foreign_vectors using at_most, w.dimensions;
end $$;

-- The call of sidecar.watch that creates or repairs a watch. A companion that is gone gets a new name of its own.
create or replace function sidecar_internal.watch_statement(w sidecar_internal.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('select sidecar.watch(%L, source => array[%s], target => %L, kind => %L, companion => %L, dimensions => %s, model => %L, index => %L%s%s)',
                  w.relation, (select string_agg(quote_literal(c), ', ' order by i) from unnest(w.source) with ordinality u(c, i)),
                  w.target, w.kind, case when w.companion is not null then coalesce(
                      (select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.companion),
                      (select format('%I.%I', n.nspname, left(c.relname || '_' || w.target, 63))
                       from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.relation)) end,
                  w.dimensions, w.model, sidecar_internal.index_argument(w), case when w.storage <> 'vector' then format(', storage => %L', w.storage) else '' end,
                  coalesce(', expose => array[' || (
                      select string_agg(quote_literal(c), ', ' order by i)
                      from unnest(sidecar_internal.present_columns(w)) with ordinality u(c, i)) || ']', ''));
$$;

-- Reads about `sample_rows` rows of a table, all of them if it has no more: the length of the source in bytes (NULL: nothing to
-- embed, or not readable), and the first `head_bytes` of a picture. Large tables are sampled by page, and the pages thinned
-- out, so that all parts of the table are represented. Reads row by row, because one unreadable row would fail a single
-- statement for all.
create or replace function sidecar_internal.sample_source(w sidecar_internal.watches, rows bigint, sample_rows integer, head_bytes integer)
returns table (bytes bigint, head bytea)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    min_pages constant double precision := 100;
    pages double precision := (select greatest(sum(pg_relation_size(t.home)), 1) / current_setting('block_size')::integer
                               from sidecar_internal.tree_of(w.relation) t);
    wanted double precision := least(1, sample_rows / greatest(rows, 1)::double precision);
    share double precision := least(1, greatest(wanted, min_pages / greatest(pages, 1)));
    content text := format('nullif(concat_ws('' '', %s), '''')', (select string_agg(format('t.%I', c), ', ' order by i) from unnest(w.source) with ordinality u(c, i)));
    measured text := case w.kind when 'image' then (
        select format('octet_length(%1$s)::bigint, substring(%1$s from 1 for $1)',
                      format('sidecar_internal.exactly((null::%s[])[1], t.%I)', format_type(a.atttypid, null), a.attname))
            from pg_attribute a where a.attrelid = w.relation and a.attname = w.source[1])
                     else format('octet_length(%s)::bigint, null::bytea', content) end;
    found record;
begin
    for found in execute format('select t.tableoid::regclass as part, t.ctid as place from %s t tablesample system (%s) where random() <= %s',
                                w.relation, 100 * share, wanted / share) loop
        begin
            -- Through its root a partition is read with the rights on the root, but only after all partitions were looked at.
            execute format('select %s from %s t where t.ctid = $2 and t.tableoid = $3', measured,
                           case when has_table_privilege(found.part, 'select') then format('only %s', found.part) else w.relation::text end) into bytes, head
                using head_bytes, found.place, found.part::oid;
        exception when data_exception or program_limit_exceeded or internal_error or data_corrupted or index_corrupted or io_error then
            bytes := null;
            head := null;
        end;
        return next;
    end loop;
end $$;
