-- The column that holds the vector in the watched row.

-- Raises for arguments of sidecar.watch that are wrong for any table.
create or replace function sidecar_internal.check_options(w sidecar_internal.watches) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    most integer := case when w.index_method in ('hnsw', 'ivfflat') then case w.index_kind when 'halfvec' then 4000 when 'vector' then 2000 end end;
begin
    if w.dimensions is null or w.dimensions not between 1 and 16000 then
        raise exception 'dimensions is %', coalesce(w.dimensions::text, 'NULL') using errcode = 'invalid_parameter_value',
            hint = 'Give the length of the model''s vectors: 1152 for the default model.';
    elsif coalesce(w.storage, 'vector') not in ('vector', 'halfvec') then
        raise exception 'storage is %', quote_literal(w.storage) using errcode = 'invalid_parameter_value',
            hint = 'storage is ''vector'' (default: 4 bytes a number) or ''halfvec'' (2 bytes).';
    elsif w.storage = 'halfvec' and w.index_kind = 'vector' then
        raise exception 'storage is ''halfvec'', but index is %', quote_literal(sidecar_internal.index_argument(w)) using errcode = 'invalid_parameter_value',
            hint = case w.index_method when 'diskann' then 'diskann takes vectors of type vector only: say storage => ''vector'', or another index.'
                   else 'Say index => ''halfvec'', which indexes the stored vectors as they are, or ''none''.' end;
    elsif w.dimensions > most then
        raise exception 'an % index on % takes at most % dimensions, not %', case w.index_method when 'hnsw' then 'HNSW' else 'IVFFlat' end,
                w.index_kind, most, w.dimensions
            using errcode = 'invalid_parameter_value', hint = 'Say index => ''none'', or ''halfvec'' for up to 4000.';
    elsif w.target = any (w.source) then
        raise exception 'target and source are both %', quote_literal(w.target) using errcode = 'invalid_parameter_value',
            hint = 'Name a column of its own for the vector.';
    elsif w.target = '' or octet_length(w.target) > 63 then
        raise exception 'target % is not a name of 1 to 63 bytes', quote_literal(w.target) using errcode = 'invalid_name',
            hint = 'Say target => ... with another one.';
    end if;
end $$;

-- True if the vector column has to be added. Raises for an existing one that does not fit.
create or replace function sidecar_internal.target_is_missing(w sidecar_internal.watches) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    label text := format('%s.%I', w.relation, w.target);
    existing record;
begin
    select format_type(a.atttypid, a.atttypmod) as type, a.attnotnull, a.attgenerated, a.atttypmod,
           sidecar_internal.storage_of(w.relation, w.target) as storage into existing
        from pg_attribute a where a.attrelid = w.relation and a.attname = w.target and a.attnum > 0 and not a.attisdropped;
    if not found then
        return true;
    elsif w.target = any (w.key_columns) or existing.attgenerated <> '' then
        raise exception 'column % is part of the key or generated, so it cannot hold the vector', label
            using errcode = 'invalid_table_definition', hint = 'Name another target: a missing column is added.';
    elsif existing.storage is null then
        raise exception 'column % has type %, not %(%)', label, existing.type, w.storage, w.dimensions
            using errcode = 'datatype_mismatch', hint = 'Name another target: a missing column is added with the right type.';
    elsif existing.storage <> w.storage then
        raise exception 'column % has type %, but the watch asks for storage ''%''', label, existing.type, w.storage
            using errcode = 'datatype_mismatch', hint = sidecar_internal.advise_on_storage(w, existing.storage);
    elsif existing.atttypmod not in (w.dimensions, -1) then
        raise exception 'column % has type %, but the watch asks for % dimensions', label, existing.type, w.dimensions
            using errcode = 'datatype_mismatch', hint = format('Say dimensions => %s, or name another target.', existing.atttypmod);
    elsif existing.atttypmod = -1 and w.index_kind = w.storage then
        raise exception 'column % has no dimensions, so it cannot have an index on %', label, w.index_kind
            using errcode = 'datatype_mismatch',
                  hint = format('Run: alter table %s alter column %I type %s(%s); or say index => ''%s''.', w.relation, w.target,
                                sidecar_internal.stored_type(w), w.dimensions, case w.storage when 'vector' then 'halfvec' else 'none' end);
    elsif existing.attnotnull then
        raise exception 'column % is NOT NULL, but a new row has no vector yet', label
            using errcode = 'invalid_table_definition',
                  hint = format('Run: alter table %s alter column %I drop not null;', w.relation, w.target);
    end if;
    return false;
end $$;

-- Adds the vector column. Locks the table ACCESS EXCLUSIVE.
create or replace function sidecar_internal.add_target(w sidecar_internal.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('alter table %s add column %I %s(%s)', w.relation, w.target, sidecar_internal.stored_type(w), w.dimensions);
end $$;

-- The HINT for an existing vector column of the other type. The column of a watch cannot be altered under its triggers, and none
-- under an index on the column itself, whose operator class takes one type only.
create or replace function sidecar_internal.advise_on_storage(w sidecar_internal.watches, present text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format(case when exists (select from sidecar_internal.watches x
                                    where x.relation = w.relation and x.target = w.target and x.unwatched_at is null)
        then 'Leave storage out to keep %1$s. To change it, name a new table: sidecar.watch(..., companion => ''some_table'', storage => ''%2$s'', '
             'replace => true) copies the vectors there; none is computed again.'
        else 'Say storage => ''%1$s'', or run: %7$salter table %3$s alter column %4$I type %5$s(%6$s);' end,
        present, w.storage, coalesce(w.companion, w.relation), w.target, sidecar_internal.stored_type(w), w.dimensions,
        (select string_agg(format('drop index %s; ', i.indexrelid::regclass), '' order by i.indexrelid)
         from pg_attribute a join pg_index i on i.indrelid = a.attrelid and a.attnum = any (i.indkey)
         where a.attrelid = coalesce(w.companion, w.relation) and a.attname = w.target));
$$;

-- The storage of a watch for which none was asked: that of its column if it is there, else that of the former watch.
create or replace function sidecar_internal.default_storage(w sidecar_internal.watches, companion_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(sidecar_internal.storage_of(case when companion_name is null then w.relation else w.companion end, w.target),
                    (sidecar_internal.find_watch(w.relation, w.target)).storage, 'vector');
$$;

-- Warns of a table with many updates. Measured: an UPDATE of another column of 1,000 rows takes 3 ms beside a companion, and
-- with an HNSW index on the same row 1.0 s (halfvec) or 2.4 s (vector). Our own writes to the rows are not counted.
create or replace function sidecar_internal.warn_of_updates(w sidecar_internal.watches) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    live bigint;
    updates bigint;
begin
    select sum(s.n_live_tup), sum(s.n_tup_upd) - coalesce((select sum(p.embedded_total) from sidecar_internal.progress p
                                                           join sidecar_internal.watches x on x.id = p.watch_id
                                                           where x.relation = w.relation and x.companion is null), 0)
        into live, updates from pg_stat_all_tables s where s.relid in (select t.home from sidecar_internal.tree_of(w.relation) t);
    if w.companion is null and w.index_kind <> 'none' and w.index_method = 'hnsw' and updates > greatest(1000, live) then
        raise warning 'table % has seen % updates of % rows: an HNSW index on the same row makes each of them about % ms slower',
            w.relation, updates, live, case w.index_kind when 'halfvec' then 1 else 2 end
            using hint = 'Keep the vector in a table of its own: companion => ''some_table''.';
    end if;
end $$;

-- Warns if no running sidecar makes vectors of this length. The length is the model's, which is not known before a sidecar
-- runs.
create or replace function sidecar_internal.warn_of_dimensions(w sidecar_internal.watches) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    running text := (select string_agg(distinct format('%s makes %s', s.model, s.dimensions), ', ') from sidecar_internal.sidecars s
                     where s.seen_at > clock_timestamp() - interval '30 s'
                     having bool_and(s.dimensions <> w.dimensions));
begin
    if running is not null then
        raise warning 'no running sidecar makes vectors of % dimensions (%): nothing will be embedded', w.dimensions, running
            using hint = 'Say dimensions => the number that the model makes, or run a sidecar with another VISION_MODEL_ID.';
    end if;
end $$;

-- Drops the vectors: the column, or the companion. Locks its table ACCESS EXCLUSIVE.
create or replace function sidecar_internal.drop_target(w sidecar_internal.watches, limits record) returns void
language plpgsql set search_path = pg_catalog, pg_temp set client_min_messages = warning as $$
begin
    perform sidecar_internal.lock_table(coalesce(w.companion, w.relation), 'access exclusive', limits);
    if w.companion is null then
        execute format('alter table %s drop column if exists %I', w.relation, w.target);
    else
        execute format('drop table %s', w.companion);
    end if;
end $$;
