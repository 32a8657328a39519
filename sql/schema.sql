-- All of schema `sidecar` at the newest migration. Written by `make schema`; a test compares it.

CREATE SCHEMA sidecar;

CREATE TABLE sidecar.watches (
    id integer NOT NULL,
    relation regclass NOT NULL,
    key_columns text[] NOT NULL,
    key_types text[] NOT NULL,
    kind text NOT NULL,
    source text[] NOT NULL,
    target text NOT NULL,
    companion regclass,
    dimensions integer NOT NULL,
    index_kind text NOT NULL,
    model text,
    fingerprint text,
    encoder text,
    truncated_gen bigint DEFAULT 0 NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    broken text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    unwatched_at timestamp with time zone,
    CONSTRAINT watches_check CHECK (((cardinality(key_columns) >= 1) AND (cardinality(key_columns) = cardinality(key_types)))),
    CONSTRAINT watches_check1 CHECK (((kind = 'text'::text) OR (cardinality(source) = 1))),
    CONSTRAINT watches_dimensions_check CHECK (((dimensions >= 1) AND (dimensions <= 16000))),
    CONSTRAINT watches_index_kind_check CHECK ((index_kind = ANY (ARRAY['halfvec'::text, 'vector'::text, 'none'::text]))),
    CONSTRAINT watches_kind_check CHECK ((kind = ANY (ARRAY['text'::text, 'image'::text]))),
    CONSTRAINT watches_source_check CHECK ((cardinality(source) >= 1))
);

CREATE FUNCTION sidecar.add_target(w sidecar.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    execute format('alter table %s add column %I %I.vector(%s)', w.relation, w.target, sidecar.vector_schema(), w.dimensions);
end $$;

CREATE FUNCTION sidecar.base_type(INOUT type oid, INOUT modifier integer, OUT printed text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    domain record;
begin
    loop
        select t.typbasetype, t.typtypmod into domain from pg_type t where t.oid = type and t.typtype = 'd';
        exit when not found;
        type := domain.typbasetype;
        modifier := domain.typtypmod;
    end loop;
    printed := format_type(type, modifier);
end $$;

CREATE FUNCTION sidecar.canonical_key(w sidecar.watches, key jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, YMD'
    SET "IntervalStyle" TO 'postgres'
    SET "TimeZone" TO 'UTC'
    SET bytea_output TO 'hex'
    AS $_$
declare
    canonical jsonb;
begin
    if jsonb_typeof(key) is distinct from 'object' or (select array_agg(k order by k) from jsonb_object_keys(key) k)
            is distinct from (select array_agg(c order by c) from unnest(w.key_columns) c) then
        raise exception 'key % does not name the key columns of %', coalesce(key::text, 'NULL'), w.relation
            using errcode = 'invalid_parameter_value',
                  hint = format('Say: key => ''{%s}''', (select string_agg(to_json(c) || ': …', ', ') from unnest(w.key_columns) c));
    end if;
    execute format('select jsonb_build_object(%s)', sidecar.for_each_key(w.key_columns, w.key_types, '%2$L, ($1->>%2$L)::%3$s'))
        into canonical using key;
    return canonical;
end $_$;

CREATE FUNCTION sidecar.changes_unnamed(w sidecar.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_trigger t
                   where t.tgrelid in (select w.relation union all select p.relid from pg_partition_tree(w.relation) p)
                     and not t.tgisinternal and t.tgtype & 1 = 1 and t.tgtype & 2 = 2 and t.tgtype & 16 = 16)
        or exists (select from pg_attribute a
                   where a.attrelid = w.relation and a.attname = any (w.source || w.key_columns) and a.attgenerated <> '');
$$;

CREATE FUNCTION sidecar.check_companion(w sidecar.watches) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    key record := sidecar.primary_key_of(w.relation);
    made constant text := 'Name a table that does not exist: it is made.';
    stranger text;
begin
    perform sidecar.check_relation(w.companion);
    if w.companion = w.relation then
        raise exception 'table % cannot be its own companion', w.relation using errcode = 'invalid_parameter_value', hint = made;
    elsif not exists (select from pg_constraint c where c.conrelid = w.companion and c.contype = 'p')
          or (select (p.columns, p.types) <> (key.columns, key.types) from sidecar.primary_key_of(w.companion) p) then
        raise exception 'companion table % has another primary key than %', w.companion, w.relation
            using errcode = 'invalid_table_definition',
                  hint = format('It needs primary key (%s) with the same types. ', array_to_string(key.columns, ', ')) || made;
    end if;
    perform from pg_attribute a
        where a.attrelid = w.companion and a.attname = w.target and not a.attisdropped and a.attgenerated = ''
          and a.atttypid = format('%I.vector', sidecar.vector_schema())::regtype and a.atttypmod = w.dimensions;
    if not found then
        raise exception 'companion table % has no column % of type vector(%)', w.companion, quote_literal(w.target), w.dimensions
            using errcode = 'datatype_mismatch', hint = made;
    end if;
    select a.attname into stranger from pg_attribute a
        where a.attrelid = w.companion and a.attnum > 0 and not a.attisdropped
          and a.attnotnull and not a.atthasdef and a.attidentity = ''
          and a.attname <> all (w.key_columns || w.target) limit 1;
    if found then
        raise exception 'companion table % has column %, which is NOT NULL and has no default', w.companion, quote_literal(stranger)
            using errcode = 'invalid_table_definition', hint = 'A companion holds the key and the vector. ' || made;
    end if;
end $$;

CREATE FUNCTION sidecar.check_key_types(relation regclass) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    key record;
begin
    select a.attname, format_type(a.atttypid, a.atttypmod) as type into key
        from pg_index i
        cross join generate_series(0, i.indnkeyatts - 1) as position
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[position]
        cross join sidecar.base_type(a.atttypid, a.atttypmod) b
        join pg_type t on t.oid = b.type
        join pg_opclass oc on oc.oid = i.indclass[position]
        left join pg_amop o on o.amopfamily = oc.opcfamily and o.amopstrategy = 3
                               and o.amoplefttype = oc.opcintype and o.amoprighttype = oc.opcintype
        left join pg_operator op on op.oid = o.amopopr
        where i.indrelid = relation and i.indisprimary
          and (t.typcategory in ('A', 'C') or op.oprnamespace <> 'pg_catalog'::regnamespace) limit 1;
    if found then
        raise exception 'key column %.% has type %, which cannot be a key here', relation, quote_ident(key.attname), key.type
            using errcode = 'feature_not_supported',
                  hint = 'Use a key of a simple type of Postgres''s own, such as bigint, uuid or text; or of several such columns.';
    end if;
end $$;

CREATE FUNCTION sidecar.check_not_failed(w sidecar.watches, key jsonb, content_hash bytea) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if content_hash = 'failed' then
        raise exception 'row % of % cannot be embedded: %', key, w.relation,
                coalesce((select d.reason || ': ' || d.message from sidecar.dead_letters d
                          where d.watch_id = w.id and d.key = check_not_failed.key), 'unknown reason')
            using errcode = 'SC002', hint = 'Mend the row, or: select sidecar.retry(…). See sidecar.failures.';
    end if;
end $$;

CREATE FUNCTION sidecar.check_options(target text, source text[], dimensions integer, index_kind text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    most integer := case index_kind when 'halfvec' then 4000 when 'vector' then 2000 else 16000 end;
begin
    if dimensions is null or dimensions not between 1 and 16000 then
        raise exception 'dimensions is %', coalesce(dimensions::text, 'NULL') using errcode = 'invalid_parameter_value',
            hint = 'Give the length of the model''s vectors: 1152 for the default model.';
    elsif coalesce(index_kind, '') not in ('halfvec', 'vector', 'none') then
        raise exception 'index is %', coalesce(quote_literal(index_kind), 'NULL') using errcode = 'invalid_parameter_value',
            hint = 'index is ''halfvec'' (default: a third of the size, same recall), ''vector'' or ''none''.';
    elsif dimensions > most then
        raise exception 'an HNSW index on % takes at most % dimensions, not %', index_kind, most, dimensions
            using errcode = 'invalid_parameter_value', hint = 'Say index => ''none'', or ''halfvec'' for up to 4000.';
    elsif target = any (source) then
        raise exception 'target and source are both %', quote_literal(target) using errcode = 'invalid_parameter_value',
            hint = 'Name a column of its own for the vector.';
    elsif target = '' or octet_length(target) > 63 then
        raise exception 'target % is not a name of 1 to 63 bytes', quote_literal(target) using errcode = 'invalid_name',
            hint = 'Say target => … with another one.';
    end if;
end $$;

CREATE FUNCTION sidecar.check_place(w sidecar.watches) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    class record;
    rule name := (select r.rulename from pg_rewrite r where r.ev_class = w.relation and r.ev_type = '2' limit 1);
    other sidecar.watches;
    companion constant text := 'keep the vectors in a table of their own: companion => ''some_table''.';
begin
    select c.relispartition, c.reloftype <> 0 as is_typed into class from pg_class c where c.oid = w.relation;
    if rule is not null then
        raise exception 'rule % rewrites updates of %, so no vector can be written', quote_ident(rule), w.relation
            using errcode = 'feature_not_supported', hint = 'Use a trigger in place of the rule, or ' || companion;
    elsif (class.relispartition or class.is_typed) and sidecar.target_is_missing(w) then
        raise exception '% cannot get a column % of its own: it is %', w.relation, quote_literal(w.target),
            case when class.is_typed then 'a typed table' else 'a partition' end
            using errcode = 'wrong_object_type', hint = case when class.is_typed then 'Alter its type first, or '
                else format('Watch %s, or ', pg_partition_root(w.relation)) end || companion;
    end if;
    select x.* into other from sidecar.watches x
        where x.unwatched_at is null and x.companion is null and x.target = w.target and x.relation <> w.relation
          and x.relation in (select a.relid from pg_partition_ancestors(w.relation) a
                             union all select t.home from sidecar.tree_of(w.relation) t) limit 1;
    if found then
        raise exception 'column % of % holds the vectors of the watch on %', quote_literal(w.target), w.relation, other.relation
            using errcode = 'duplicate_object',
                  hint = format('End that one first: select sidecar.unwatch(%L, %L); or %s', other.relation, w.target, companion);
    end if;
end $$;

CREATE FUNCTION sidecar.check_relation(relation regclass) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    class record;
begin
    select c.relkind, c.relpersistence, c.relowner, n.nspname into class
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation;
    if not found then
        raise exception 'there is no table %', coalesce(relation::text, 'NULL')
            using errcode = 'undefined_table', hint = 'Name an existing table, for example ''public.products''.';
    elsif class.relkind not in ('r', 'p') then
        raise exception '% is a %, not a table', relation, case class.relkind when 'v' then 'view' when 'm' then 'materialized view'
                when 'f' then 'foreign table' when 'S' then 'sequence' else 'relation of another kind' end
            using errcode = 'wrong_object_type', hint = case when class.relkind = 'f' then 'Watch it in the database it lives in.'
                else 'Only tables can be watched: watch the table behind it.' end;
    elsif class.relpersistence = 't' then
        raise exception '% is a temporary table, which no other session can read', relation
            using errcode = 'wrong_object_type', hint = 'Use a permanent table.';
    elsif class.nspname in ('sidecar', 'pg_catalog', 'information_schema') then
        raise exception '% belongs to schema "%"', relation, class.nspname
            using errcode = 'wrong_object_type', hint = 'Use a table of your own.';
    elsif sidecar.inherits(relation) then
        raise exception '% takes part in table inheritance, where a primary key does not cover the children', relation
            using errcode = 'wrong_object_type', hint = 'Use declarative partitioning, or a table of its own.';
    elsif not pg_has_role(class.relowner, 'usage') then
        raise exception 'only the owner of % can watch it, and role "%" is not', relation, current_user
            using errcode = 'insufficient_privilege',
                  hint = format('Let %I call this: set role %1$I;', pg_get_userbyid(class.relowner));
    end if;
end $_$;

CREATE FUNCTION sidecar.check_row_exists(w sidecar.watches, key jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    is_there boolean;
begin
    execute format('select exists (select from %s t where %s)', w.relation, sidecar.key_condition(w, ours => false))
        into is_there using key;
    if not is_there then
        raise exception 'table % has no row %', w.relation, key using errcode = '02000',
            hint = 'It may have been deleted, or inserted by a transaction that is still open.';
    end if;
end $$;

CREATE FUNCTION sidecar.checked_watch(wanted sidecar.watches, companion_name text) RETURNS sidecar.watches
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform sidecar.vector_schema();
    perform sidecar.check_relation(wanted.relation);
    select p.columns, p.types into wanted.key_columns, wanted.key_types from sidecar.primary_key_of(wanted.relation) p;
    perform sidecar.check_key_types(wanted.relation);
    wanted.kind := sidecar.kind_of_source(wanted.relation, wanted.source, wanted.kind);
    wanted.target := coalesce(wanted.target, wanted.source[1] || '_embedding');
    perform sidecar.check_options(wanted.target, wanted.source, wanted.dimensions, wanted.index_kind);
    wanted.companion := to_regclass(companion_name);
    if wanted.companion is not null then
        perform sidecar.check_companion(wanted);
    elsif companion_name is not null and wanted.target = any (wanted.key_columns) then
        raise exception 'target % is a key column, which the companion has too', quote_literal(wanted.target)
            using errcode = 'invalid_parameter_value', hint = 'Name a column of its own for the vector.';
    end if;
    return wanted;
end $$;

CREATE FUNCTION sidecar.companion_name(relation regclass, companion text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    parts text[] := parse_ident(companion);
begin
    if cardinality(parts) > 2 then
        raise exception 'companion % has too many dots', quote_literal(companion) using errcode = 'invalid_name',
            hint = 'Name a table, or schema.table.';
    elsif cardinality(parts) = 1 then
        return (select format('%I.%I', n.nspname, parts[1]) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where c.oid = relation);
    end if;
    return case when companion is not null then format('%I.%I', parts[1], parts[2]) end;
end $$;

CREATE FUNCTION sidecar.count_leaf_indexes(w sidecar.watches, OUT leaves bigint, OUT built bigint) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select nullif(count(*), 0), count(*) filter (where exists (select from sidecar.usable_indexes(w, t.home) u where u.valid))
        from sidecar.tree_of(coalesce(w.companion, w.relation)) t where t.is_leaf and t.parent is not null;
$$;

CREATE FUNCTION sidecar.count_ledger(w sidecar.watches, exact boolean, OUT entries bigint, OUT empty bigint, OUT failed bigint, OUT truncated bigint, OUT estimated boolean) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    ledger regclass := format('sidecar.ledger_%s', w.id);
    tombstones bigint;
begin
    select c.n, c.estimated into entries, estimated from sidecar.count_rows(ledger, exact) c;
    execute format('select count(*) filter (where l.content_hash is null), count(*) filter (where l.content_hash = ''empty''),
                           count(*) filter (where l.content_hash = ''failed''), count(*) filter (where l.truncated)
                    from %s l where truncated or content_hash is null or octet_length(content_hash) < 32', ledger)
        into tombstones, empty, failed, truncated;
    entries := greatest(entries - tombstones, empty + failed);
end $$;

CREATE FUNCTION sidecar.count_queue(w sidecar.watches, OUT keys bigint, OUT updates bigint, OUT oldest timestamp with time zone) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    k text := sidecar.for_each_key(w.key_columns, null, 'k%1$s');
begin
    execute format('select count(q.k1), count(l.gen), min(q.enqueued_at)
                    from (select %2$s, min(enqueued_at) as enqueued_at
                          from (select %2$s, enqueued_at from sidecar.events_%1$s
                                union all select %2$s, enqueued_at from sidecar.delayed_%1$s) e
                          group by %2$s) q
                    left join (select %2$s, gen from sidecar.ledger_%1$s where content_hash is not null) l using (%2$s)', w.id, k)
        into keys, updates, oldest;
end $_$;

CREATE FUNCTION sidecar.count_rows(relation regclass, exact boolean, OUT n bigint, OUT estimated boolean) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    page_bytes constant double precision := current_setting('block_size')::integer;
begin
    with leaf as (
        select count_rows.relation::oid as oid union select p.relid from pg_partition_tree(count_rows.relation) p where p.isleaf
    ), size as (
        select c.reltuples, c.relpages, pg_relation_size(c.oid) / page_bytes as pages
        from leaf join pg_class c using (oid) where c.relkind = 'r'
    )
    select sum(s.reltuples * s.pages / greatest(s.relpages, 1))::bigint,
           sum(s.pages) * page_bytes > 16 * 1024 * 1024 and bool_and(s.reltuples >= 0 and (s.relpages > 0 or s.pages = 0))
        into n, estimated from size s;
    estimated := coalesce(estimated, false) and not exact;
    if not estimated then
        execute format('select count(*) from %s', relation) into n;
    end if;
end $$;

CREATE FUNCTION sidecar.count_unknown(w sidecar.watches) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    n bigint;
begin
    execute format('select count(*) from %s t
                    where not exists (select from sidecar.ledger_%s l where %s and l.content_hash is not null)',
                   w.relation, w.id, sidecar.for_each_key(w.key_columns, null, 't.%2$I = l.k%1$s', ' and ')) into n;
    return n;
end $_$;

CREATE FUNCTION sidecar.create_companion(w sidecar.watches, name text) RETURNS regclass
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    key record := sidecar.primary_key_of(w.relation);
begin
    execute format('create table %s (%s, %I %I.vector(%s) not null, primary key (%s))', name,
        sidecar.for_each_key(key.columns, key.definitions, '%2$I %3$s'), w.target, sidecar.vector_schema(), w.dimensions,
        sidecar.for_each_key(key.columns, null, '%2$I'));
    perform sidecar.check_relation(to_regclass(name));  -- nor in a temporary schema, nor in ours
    return to_regclass(name);
end $_$;

CREATE FUNCTION sidecar.create_ledger(watch_id integer, key_definitions text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    keys text := sidecar.for_each_key(key_definitions, key_definitions, 'k%1$s %3$s');
    key_names text := sidecar.for_each_key(key_definitions, null, 'k%1$s');
begin
    execute format($sql$
        create table sidecar.ledger_%1$s (
            %2$s,
            gen bigint not null,
            content_hash bytea check (octet_length(content_hash) = 32 or content_hash in ('empty', 'failed')),
            vector_digest bytea check (octet_length(vector_digest) = 32),
            truncated boolean not null default false,
            embedded_at timestamptz not null default clock_timestamp(),
            primary key (%3$s),
            check ((vector_digest is null) = (content_hash is null or octet_length(content_hash) < 32))
        ) with (fillfactor = 80);
        create index ledger_%1$s_exceptions on sidecar.ledger_%1$s (gen)
            where truncated or content_hash is null or octet_length(content_hash) < 32;
    $sql$, watch_id, keys, key_names);
end $_$;

CREATE FUNCTION sidecar.create_queue(watch_id integer, key_definitions text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    keys text := sidecar.for_each_key(key_definitions, key_definitions, 'k%1$s %3$s');
begin
    -- "Bring this key up to date." Append-only, duplicates are fine; a NULL key is a TRUNCATE. The small fillfactor keeps
    -- leases HOT. The partial index holds the backfill's few outstanding events, so that its share of the claims need
    -- not be looked for behind a large live backlog.
    execute format($sql$
        create table sidecar.events_%1$s (
            gen bigint primary key default nextval('sidecar.generation'),
            %2$s,
            enqueued_at timestamptz not null default clock_timestamp(),
            backfill boolean not null default false,
            force boolean not null default false,
            lease_until timestamptz,
            lease_token uuid,
            attempts smallint not null default 0 check (attempts >= 0),
            check ((lease_until is null) = (lease_token is null))
        ) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
                autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
                autovacuum_vacuum_cost_delay = 0);
        create index events_%1$s_backfill on sidecar.events_%1$s (gen) where backfill;
        create table sidecar.delayed_%1$s (
            gen bigint primary key,
            %2$s,
            enqueued_at timestamptz not null,
            backfill boolean not null,
            force boolean not null,
            attempts smallint not null,
            run_at timestamptz not null
        );
        create index delayed_%1$s_run_at on sidecar.delayed_%1$s (run_at);
    $sql$, watch_id, keys);
end $_$;

CREATE FUNCTION sidecar.create_trigger(w sidecar.watches, suffix text, event text, home regclass, manner text, call text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    execute format('create trigger sidecar_%1$s_%2$s after %3$s on %4$s %5$s execute function sidecar.enqueue_%1$s_%6$s',
                   w.id, suffix, event, home, manner, call);
    if sidecar.is_subscribed(home) then
        execute format('alter table %3$s enable always trigger sidecar_%1$s_%2$s', w.id, suffix, home);
    end if;
end $_$;

CREATE FUNCTION sidecar.create_trigger_functions(w sidecar.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    k text := sidecar.for_each_key(w.key_columns, null, 'k%1$s');           -- k1, k2
    rows_key text := sidecar.for_each_key(w.key_columns, null, 'r.%2$I');   -- r.id, r.region
    new_key text := sidecar.for_each_key(w.key_columns, null, 'new.%2$I');
    old_key text := sidecar.for_each_key(w.key_columns, null, 'old.%2$I');
    key_changed text := sidecar.for_each_key(w.key_columns, null,
        'new.%2$I::text collate "C" is distinct from old.%2$I::text collate "C"', ' or ');
begin
    execute format($outer$
        create or replace function sidecar.enqueue_%1$s_statement() returns trigger
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
        begin
            begin
                if tg_op = 'TRUNCATE' then
                    insert into sidecar.events_%1$s select limit 0;
                else
                    insert into sidecar.events_%1$s (%2$s) select %3$s from changed_rows r limit 0;
                end if;
            exception when others then
                perform sidecar.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op = 'TRUNCATE' then
                insert into sidecar.events_%1$s default values;
            else
                insert into sidecar.events_%1$s (%2$s) select %3$s from changed_rows r;
            end if;
            if found then
                perform sidecar.wake_sleepers();
            end if;
            return null;
        end $f$;
    $outer$, w.id, k, rows_key);

    execute format($outer$
        create or replace function sidecar.enqueue_%1$s_row() returns trigger
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
        begin
            begin
                if tg_op <> 'DELETE' then
                    insert into sidecar.events_%1$s (%2$s) select %3$s limit 0;
                else
                    insert into sidecar.events_%1$s (%2$s) select %4$s limit 0;
                end if;
            exception when others then
                perform sidecar.report_breakage(%1$s, sqlstate, sqlerrm);
                return null;
            end;
            if tg_op <> 'DELETE' then
                insert into sidecar.events_%1$s (%2$s, force) values (%3$s, tg_nargs > 0);
            end if;
            if tg_op = 'DELETE' or (tg_op = 'UPDATE' and (%5$s)) then
                insert into sidecar.events_%1$s (%2$s) values (%4$s);
            end if;
            perform sidecar.wake_sleepers();
            return null;
        end $f$;
    $outer$, w.id, k, new_key, old_key, key_changed);

    execute format('revoke all on function sidecar.enqueue_%1$s_statement(), sidecar.enqueue_%1$s_row() from public', w.id);
end $_$;

CREATE FUNCTION sidecar.create_triggers(w sidecar.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    unnamed boolean := sidecar.changes_unnamed(w);
    of_columns text;
    changed text;
begin
    select string_agg(quote_ident(c), ', '),
           string_agg(format(case when w.kind = 'image' and c = any (w.source) then 'old.%1$I is distinct from new.%1$I'
                             else 'old.%1$I::text collate "C" is distinct from new.%1$I::text collate "C"' end, c), ' or ')
        into of_columns, changed from (select distinct u.c from unnest(w.source || w.key_columns) as u(c)) as watched;
    if sidecar.needs_row_triggers(w.relation) then
        perform sidecar.create_trigger(w, 'insert', 'insert', w.relation, 'for each row', 'row()');
        perform sidecar.create_trigger(w, 'delete', 'delete', w.relation, 'for each row', 'row()');
    else
        perform sidecar.create_trigger(w, 'insert', 'insert', w.relation,
                                       'referencing new table as changed_rows for each statement', 'statement()');
        perform sidecar.create_trigger(w, 'delete', 'delete', w.relation,
                                       'referencing old table as changed_rows for each statement', 'statement()');
    end if;
    perform sidecar.create_trigger(w, 'update', 'update' || case when unnamed then '' else ' of ' || of_columns end, w.relation,
                                   format('for each row when (%s)', changed), 'row()');
    perform sidecar.create_trigger(w, 'truncate', 'truncate', w.relation, 'for each statement', 'statement()');
    -- Somebody else wrote the vector: an ORM that saves whole rows puts an old one back. `force`: never skipped.
    perform sidecar.create_trigger(w, 'target',
        'update' || case when unnamed and w.companion is null then '' else format(' of %I', w.target) end,
        coalesce(w.companion, w.relation),
        format('for each row when (current_setting(''sidecar.writer'', true) is distinct from ''on'' and '
               'case when old.%1$I is null or new.%1$I is null then (old.%1$I is null) <> (new.%1$I is null) '
               'else old.%1$I operator(%2$I.<>) new.%1$I end)', w.target, sidecar.vector_schema()), 'row(''force'')');
end $_$;

CREATE FUNCTION sidecar.drop_queue(watch_id integer, keep_ledger boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $_$
begin
    if not keep_ledger then
        execute format('drop table if exists sidecar.ledger_%s', watch_id);
    end if;
    execute format('drop table if exists sidecar.events_%1$s, sidecar.delayed_%1$s', watch_id);
    execute format('drop function if exists sidecar.enqueue_%1$s_statement(), sidecar.enqueue_%1$s_row()', watch_id);
    delete from sidecar.dead_letters d where d.watch_id = drop_queue.watch_id;
    delete from sidecar.scans s where s.watch_id = drop_queue.watch_id;
    delete from sidecar.breakages b where b.watch_id = drop_queue.watch_id;
end $_$;

CREATE FUNCTION sidecar.drop_target(w sidecar.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $$
begin
    perform sidecar.lock_table(coalesce(w.companion, w.relation), 'access exclusive');
    if w.companion is null then
        execute format('alter table %s drop column if exists %I', w.relation, w.target);
    else
        execute format('drop table %s', w.companion);
    end if;
end $$;

CREATE FUNCTION sidecar.drop_triggers(w sidecar.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    t record;
begin
    for t in select * from sidecar.triggers_of(w) loop
        execute format('drop trigger %I on %s', t.name, t.home);
    end loop;
end $$;

CREATE FUNCTION sidecar.fault_of(w sidecar.watches) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    forget text := format('select sidecar.unwatch(%s, %L)', w.relation::oid, w.target);
begin
    if not exists (select from pg_class c where c.oid = w.relation) then
        return 'the table is gone: ' || forget;
    elsif w.companion is not null and not exists (select from pg_class c where c.oid = w.companion) then
        return 'the companion table is gone: call sidecar.watch again with replace => true';
    elsif exists (select from sidecar.breakages b where b.watch_id = w.id) then
        return (select string_agg(distinct b.message, '; ') || ': call sidecar.watch again'
                from sidecar.breakages b where b.watch_id = w.id);
    elsif w.broken is not null then
        return w.broken || ': call sidecar.watch again';
    elsif not sidecar.triggers_fit(w) then
        return 'a trigger is missing, disabled or out of date: call sidecar.watch again';
    end if;
    return null;
end $$;

CREATE FUNCTION sidecar.find_index(home regclass, target text, OUT index regclass, OUT valid boolean) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select i.index, i.valid
        from sidecar.watches w cross join lateral sidecar.usable_indexes(w, find_index.home) i
        where coalesce(w.companion, w.relation) = find_index.home and w.target = find_index.target
        order by i.valid desc, i.index limit 1;
$$;

CREATE FUNCTION sidecar.find_watch(relation regclass, target text) RETURNS sidecar.watches
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select w from sidecar.watches w where w.relation = find_watch.relation and w.target = find_watch.target;
$$;

CREATE FUNCTION sidecar.for_each_key(columns text[], types text[], pattern text, separator text DEFAULT ', '::text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(format(pattern, i, columns[i], types[i]), separator order by i) from generate_subscripts(columns, 1) i;
$$;

CREATE FUNCTION sidecar.highest_generation(queue text) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    highest bigint;
begin
    if to_regclass(queue) is not null then
        execute format('select max(q.gen) from %s q', to_regclass(queue)) into highest;
    end if;
    return highest;
end $$;

CREATE FUNCTION sidecar.hybrid_search(relation regclass, query_vector public.vector, query_text text, target text DEFAULT NULL::text, document text[] DEFAULT NULL::text[], k integer DEFAULT 10, filter jsonb DEFAULT '{}'::jsonb, config regconfig DEFAULT 'english'::regconfig, candidates integer DEFAULT NULL::integer, rrf_constant integer DEFAULT 60, vector_weight double precision DEFAULT 1, text_weight double precision DEFAULT 1) RETURNS TABLE(key jsonb, score double precision, vector_rank bigint, text_rank bigint, distance double precision)
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'warning'
    SET "hnsw.iterative_scan" TO 'strict_order'
    AS $$
declare
    w constant sidecar.watches := sidecar.need_watch(relation, target);
    words tsquery := websearch_to_tsquery(config, coalesce(query_text, ''));
begin
    if k < 0 or candidates < 1 or rrf_constant < 0 then
        raise exception 'k must be 0 or more, candidates 1 or more, rrf_constant 0 or more' using errcode = 'invalid_parameter_value',
            hint = format('They are %s, %s and %s.', k, coalesce(candidates::text, 'unset'), rrf_constant);
    elsif w.kind <> 'text' and document is null then
        raise exception 'target % is made of pictures, which have no text to match', quote_literal(w.target)
            using errcode = 'invalid_parameter_value', hint = 'Name text columns of the same table: document => array[''title''].';
    end if;
    if numnode(words) = 0 then
        words := null;
    end if;
    return query execute sidecar.hybrid_statement(w, sidecar.search_document(relation, coalesce(document, w.source), config),
                                                  sidecar.search_condition(filter))
        using query_vector, words, coalesce(candidates, greatest(4 * k, 100)), rrf_constant, vector_weight, text_weight, k;
end $$;

CREATE FUNCTION sidecar.hybrid_statement(w sidecar.watches, document text, condition text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    ext constant text := quote_ident(sidecar.vector_schema());
    tables constant text := w.relation || ' t'
        || case when w.companion is null then '' else format(' join %s e using (%s)', w.companion,
                                                             sidecar.for_each_key(w.key_columns, null, '%2$I')) end;
    vector text := format(case when w.companion is null then 't.%I' else 'e.%I' end, w.target);
    keys constant text := sidecar.for_each_key(w.key_columns, null, 'k%1$s');
    key_columns constant text := sidecar.for_each_key(w.key_columns, null, 't.%2$I as k%1$s');
    type constant text := format('%s.%s(%s)', ext, case w.index_kind when 'halfvec' then 'halfvec' else 'vector' end, w.dimensions);
    distance constant text := format('%s%s operator(%s.<=>) $1::%s', vector,
                                     case w.index_kind when 'halfvec' then '::' || type else '' end, ext, type);
    near constant text := format('select %s, %s as distance from %s where %s is not null and $1 is not null%s
                                  order by distance fetch first ($3) rows with ties', key_columns, distance, tables, vector, condition);
    matching constant text := format('select %1$s, ts_rank_cd(%2$s, $2) as relevance from %3$s t where %2$s @@ $2%4$s
                                      order by relevance desc, %5$s limit $3', key_columns, document, w.relation, condition, keys);
begin
    return format('
        with near as (select n.*, rank() over (order by distance) as place from (%s) n),
             matching as (select m.*, rank() over (order by relevance desc) as place from (%s) m)
        select jsonb_build_object(%s),
               coalesce($5 / ($4 + near.place), 0) + coalesce($6 / ($4 + matching.place), 0) as score,
               near.place, matching.place, near.distance
        from near full join matching using (%s) order by score desc, %4$s limit $7', near, matching,
        sidecar.for_each_key(w.key_columns, null, '%2$L, k%1$s'), keys);
end $_$;

CREATE FUNCTION sidecar.index_name(w sidecar.watches, home regclass, replaced regclass) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    class record;
    suffix text := '_hnsw_' || w.id;
    stem text;
begin
    select c.relname || '_' || w.target as stem, n.nspname into class
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = home;
    stem := class.stem;
    if octet_length(stem || suffix) > 63 or to_regclass(format('%I.%I', class.nspname, stem || suffix)) <> replaced then
        suffix := format('_%s_hnsw_%s', to_hex(home::oid::bigint), w.id);
    end if;
    while octet_length(stem || suffix) > 63 loop
        stem := left(stem, -1);
    end loop;
    return stem || suffix;
end $$;

CREATE FUNCTION sidecar.index_of(w sidecar.watches) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    home regclass := coalesce(w.companion, w.relation);
    hnsw record;
    build text := (select format('building: %s %s%%', p.phase,
                                 coalesce(round(100.0 * p.blocks_done / nullif(p.blocks_total, 0)), 0))
                   from pg_stat_progress_create_index p where p.relid = home limit 1);
begin
    select f.index, f.valid into hnsw from sidecar.find_index(home, w.target) f;
    return case when w.index_kind = 'none' then 'none' when hnsw.valid then hnsw.index::text when build is not null then build
           when hnsw.index is not null then 'invalid: ' || hnsw.index else 'not built yet' end;
end $$;

CREATE FUNCTION sidecar.index_statement(w sidecar.watches) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select string_agg(s.step, E';\n' order by s.number) from sidecar.index_steps(w) with ordinality s(step, number);
$$;

CREATE FUNCTION sidecar.index_steps(w sidecar.watches) RETURNS SETOF text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    top constant regclass := coalesce(w.companion, w.relation);
    ext constant text := quote_ident(sidecar.vector_schema());
    key constant text := case w.index_kind
        when 'halfvec' then format('((%I::%s.halfvec(%s)) %s.halfvec_cosine_ops)', w.target, ext, w.dimensions, ext)
        when 'vector' then format('(%I %s.vector_cosine_ops)', w.target, ext) end;
    indexes jsonb := '{}';  -- table → its index, quoted
    t record;
    i record;
    name text;
begin
    if key is null or (sidecar.find_index(top, w.target)).valid then
        return;
    end if;
    for t in select x.*, n.nspname from sidecar.tree_of(top) x
             join pg_class c on c.oid = x.home join pg_namespace n on n.oid = c.relnamespace order by x.level, x.home loop
        select u.index, u.valid, t.parent is not null and u.parent is not null as is_attached into i
            from sidecar.usable_indexes(w, t.home) u order by u.parent is not null desc, u.valid desc, u.index limit 1;
        name := case when i.index is not null then i.index::text end;
        if t.is_leaf and not i.valid and i.is_attached then
            return next 'reindex index concurrently ' || name;
        elsif i.index is null or (t.is_leaf and not i.valid) then
            if i.index is not null then
                return next 'drop index concurrently if exists ' || name;
            end if;
            name := sidecar.index_name(w, t.home, coalesce(i.index, 0::oid::regclass));
            return next format(case when t.is_leaf then 'create index concurrently %I on %s using hnsw %s'
                               else 'create index %I on only %s using hnsw %s' end, name, t.home, key);
            name := format('%I.%I', t.nspname, name);
        end if;
        if t.parent is not null and not coalesce(i.is_attached, false) then
            return next format('alter index %s attach partition %s', indexes->>t.parent::oid::text, name);
        end if;
        indexes := indexes || jsonb_build_object(t.home::oid::text, name);
    end loop;
end $$;

CREATE FUNCTION sidecar.inherits(relation regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_inherits i join pg_class p on p.oid = i.inhparent
                   where p.relkind = 'r' and inherits.relation in (i.inhparent, i.inhrelid));
$$;

CREATE FUNCTION sidecar.install_watch(w sidecar.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    definitions text[] := (sidecar.primary_key_of(w.relation)).definitions;
begin
    perform sidecar.create_queue(w.id, definitions);
    if to_regclass(format('sidecar.ledger_%s', w.id)) is null then
        perform sidecar.create_ledger(w.id, definitions);
    end if;
    perform sidecar.create_trigger_functions(w);
    perform sidecar.create_triggers(w);
    perform sidecar.start_scan(w.id, 'backfill');
    insert into sidecar.progress (watch_id) values (w.id) on conflict do nothing;
    perform pg_notify('sidecar_watches', '');
end $$;

CREATE FUNCTION sidecar.is_intact(w sidecar.watches, key_columns text[], key_types text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select (w.key_columns, w.key_types) = (is_intact.key_columns, is_intact.key_types)
        and w.broken is null and not exists (select from sidecar.breakages b where b.watch_id = w.id) and sidecar.triggers_fit(w);
$$;

CREATE FUNCTION sidecar.is_own_uncommitted(row_xmin xid) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    own bigint := pg_current_xact_id_if_assigned()::text::bigint;
    full_xid bigint;
begin
    if own is null then
        return false;
    end if;
    -- xmin is the low half of a 64-bit id; a subtransaction's is a little above its parent's.
    full_xid := (own & ~4294967295::bigint) | row_xmin::text::bigint;
    if full_xid > own + 2147483648 then
        full_xid := full_xid - 4294967296;
    end if;
    return pg_xact_status(full_xid::text::xid8) = 'in progress';
end $$;

CREATE FUNCTION sidecar.is_same_watch(a sidecar.watches, b sidecar.watches) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select (a.kind, a.source, a.dimensions, a.index_kind, a.model, a.companion)
        is not distinct from (b.kind, b.source, b.dimensions, b.index_kind, b.model, b.companion);
$$;

CREATE FUNCTION sidecar.is_subscribed(relation regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_subscription_rel s where s.srrelid in (
        select is_subscribed.relation union all select p.relid from pg_partition_tree(is_subscribed.relation) p
        union all select a.relid from pg_partition_ancestors(is_subscribed.relation) a));
$$;

CREATE FUNCTION sidecar.key_condition(w sidecar.watches, ours boolean) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select sidecar.for_each_key(w.key_columns, w.key_types,
        case when ours then 't.k%1$s' else 't.%2$I' end || ' = ($1->>%2$L)::%3$s', ' and ');
$_$;

CREATE FUNCTION sidecar.kind_of_column(relation regclass, name text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    source record;
begin
    select b.type, b.printed, t.typcategory into source
        from pg_attribute a cross join sidecar.base_type(a.atttypid, a.atttypmod) b join pg_type t on t.oid = b.type
        where a.attrelid = relation and a.attname = name and a.attnum > 0 and not a.attisdropped;
    if not found then
        raise exception 'table % has no column %', relation, quote_literal(name)
            using errcode = 'undefined_column', hint = 'Column names are case-sensitive here: give them as \d shows them.';
    elsif source.type = 'bytea'::regtype then
        return 'image';
    elsif source.typcategory = 'S' then
        return 'text';
    end if;
    raise exception 'column %.% has type %, which holds neither text nor pictures', relation, quote_ident(name), source.printed
        using errcode = 'datatype_mismatch',
              hint = 'A source is a text column, or a bytea column that holds picture files. Of other types make a generated '
                     'column: alter table … add column … text generated always as (…) stored;';
end $$;

CREATE FUNCTION sidecar.kind_of_source(relation regclass, source text[], kind text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    name text;
    kinds text[] := '{}';
begin
    if kind_of_source.source is null or cardinality(kind_of_source.source) = 0
       or array_position(kind_of_source.source, null) is not null then
        raise exception 'source names no column' using errcode = 'invalid_parameter_value',
            hint = 'Say for example: source => ''photo'', or source => array[''title'', ''brand''].';
    elsif kind_of_source.kind not in ('text', 'image') then
        raise exception 'kind is %, which is not known', quote_literal(kind_of_source.kind)
            using errcode = 'invalid_parameter_value', hint = 'kind is ''text'' or ''image'', or left out.';
    end if;
    foreach name in array kind_of_source.source loop
        kinds := kinds || sidecar.kind_of_column(relation, name);
    end loop;
    if cardinality(kinds) > 1 and 'image' = any (kinds) then
        raise exception 'source % mixes pictures with other columns', kind_of_source.source
            using errcode = 'datatype_mismatch',
                  hint = 'Several source columns are joined as text. Watch each bytea column by itself.';
    elsif kind_of_source.kind <> kinds[1] then
        raise exception 'kind is %, but source % holds %', quote_literal(kind_of_source.kind),
            kind_of_source.source, case kinds[1] when 'image' then 'bytea (pictures)' else 'text' end
            using errcode = 'datatype_mismatch', hint = format('Leave kind out, or say kind => %L.', kinds[1]);
    end if;
    return kinds[1];
end $$;

CREATE FUNCTION sidecar.lock_table(relation regclass, mode text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    own_timeout constant text := current_setting('lock_timeout');
begin
    for attempt in 1 .. case own_timeout when '0' then 5 else 1 end loop
        begin
            perform set_config('lock_timeout', case own_timeout when '0' then '2s' else own_timeout end, true);
            execute format('lock table %s in %s mode', relation, mode);
            perform set_config('lock_timeout', own_timeout, true);
            return;
        exception when lock_not_available then
            null; -- The block's end has undone the set_config.
        end;
    end loop;
    raise exception 'table % is in use: it could not be locked within %', relation,
            case own_timeout when '0' then '10s' else own_timeout end
        using errcode = 'lock_not_available',
              hint = 'A transaction that uses it is still open. Nothing was changed; try again when it is over.';
end $$;

CREATE FUNCTION sidecar.need_watch(relation regclass, target text) RETURNS sidecar.watches
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar.watches;
    targets text;
    n integer;
begin
    select count(*), string_agg(quote_literal(x.target), ', ' order by x.target) into n, targets
        from sidecar.watches x where x.relation = need_watch.relation and x.unwatched_at is null;
    select * into w from sidecar.watches x where x.relation = need_watch.relation and x.unwatched_at is null
        and (x.target = need_watch.target or (need_watch.target is null and n = 1));
    if w.id is not null then
        return w;
    elsif n = 0 then
        raise exception 'table % is not watched', coalesce(relation::text, 'NULL') using errcode = 'undefined_object',
            hint = format('select sidecar.watch(%L, source => …) starts it; select * from sidecar.status lists what is watched.',
                          relation::text);
    elsif need_watch.target is null then
        raise exception 'table % has % watches', relation, n using errcode = 'ambiguous_column',
            hint = format('Name the target, one of: %s', targets);
    end if;
    raise exception 'table % has no watch with target %', relation, quote_literal(need_watch.target)
        using errcode = 'undefined_object', hint = format('Its targets: %s', targets);
end $$;

CREATE FUNCTION sidecar.needs_row_triggers(relation regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_class c where c.oid = needs_row_triggers.relation and (c.relkind = 'p' or c.relispartition))
        or sidecar.is_subscribed(needs_row_triggers.relation);
$$;

CREATE FUNCTION sidecar.newest_event(w sidecar.watches, key jsonb) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    newest bigint;
    own boolean;
begin
    execute format('select max(e.gen), bool_or(e.own) from (
                        select t.gen, sidecar.is_own_uncommitted(t.xmin) as own from sidecar.events_%1$s t where %2$s
                        union all select t.gen, false from sidecar.delayed_%1$s t where %2$s) e',
                   w.id, sidecar.key_condition(w, ours => true)) into newest, own using key;
    if own then
        raise exception 'row % of % was written in this transaction, which nobody else sees yet', key, w.relation
            using errcode = 'object_not_in_prerequisite_state', hint = 'Commit first, then call sidecar.wait_embedded.';
    end if;
    return newest;
end $_$;

CREATE FUNCTION sidecar.partition_lacks_trigger(w sidecar.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (
        select from sidecar.triggers_of(w) t
        join pg_trigger root on root.tgrelid = t.home and root.tgname = t.name
        cross join lateral pg_partition_tree(t.home) p
        left join pg_trigger copy on copy.tgrelid = p.relid and copy.tgname = t.name
        where t.for_row and p.level > 0 and copy.tgenabled is distinct from root.tgenabled);
$$;

CREATE FUNCTION sidecar.pause(relation regclass DEFAULT NULL::regclass, target text DEFAULT NULL::text) RETURNS integer
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select sidecar.set_paused(relation, target, true) $$;

CREATE FUNCTION sidecar.primary_key_of(relation regclass, OUT columns text[], OUT types text[], OUT definitions text[]) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    select array_agg(a.attname::text order by k.position), array_agg(b.printed order by k.position),
           array_agg(b.printed || case when a.attcollation <> 0 and a.attcollation <> t.typcollation
                     then format(' collate %I.%I', cn.nspname, co.collname) else '' end order by k.position)
        into columns, types, definitions
        from pg_constraint c
        cross join unnest(c.conkey) with ordinality as k(attnum, position)
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
        cross join sidecar.base_type(a.atttypid, a.atttypmod) b
        join pg_type t on t.oid = b.type
        left join pg_collation co on co.oid = a.attcollation
        left join pg_namespace cn on cn.oid = co.collnamespace
        where c.conrelid = relation and c.contype = 'p';
    if columns is null then
        raise exception 'table % has no primary key', relation
            using errcode = 'invalid_table_definition',
                  hint = format('The sidecar tells rows apart by their primary key. Add one, for example: '
                                'alter table %s add column id bigint generated always as identity primary key;', relation);
    end if;
end $$;

CREATE FUNCTION sidecar.raise_generation() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w record;
    used bigint := 0;
    found_gen bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('sidecar.raise_generation', 0));
    for w in select x.id, x.truncated_gen from sidecar.watches x loop
        used := greatest(used, w.truncated_gen);
        for found_gen in select sidecar.highest_generation(format('sidecar.%s_%s', t, w.id))
                         from unnest(array['ledger', 'events', 'delayed']) t loop
            used := greatest(used, found_gen);
        end loop;
    end loop;
    -- A margin, because others draw from the sequence between our look at it and setval.
    perform setval('sidecar.generation', used + 100000) 
        from sidecar.generation s where used > case when s.is_called then s.last_value else s.last_value - 1 end;
    return used;
end $$;

CREATE FUNCTION sidecar.reembed(relation regclass, target text DEFAULT NULL::text, model text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar.watches := sidecar.need_watch(relation, target);
begin
    -- FOR UPDATE waits for completes in hand; later ones see the changed fingerprint and drop their vectors.
    select * into strict w from sidecar.watches x where x.id = w.id for update;
    if reembed.model not in (coalesce(w.fingerprint, ''), coalesce(w.encoder, '')) then
        update sidecar.watches x set fingerprint = null, encoder = null, model = nullif(reembed.model, 'any') where x.id = w.id;
        if w.fingerprint is not null then
            perform sidecar.start_scan(w.id, 'clear');
        end if;
    end if;
    perform sidecar.start_scan(w.id, 'backfill', force => true);
    perform pg_notify('sidecar_watches', '');
end $$;

CREATE FUNCTION sidecar.release_tables(w sidecar.watches) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    home regclass;
begin
    for home in select t.home from sidecar.triggers_of(w) t group by t.home order by t.home = w.relation desc loop
        perform sidecar.lock_table(home, 'access exclusive');
    end loop;
    perform sidecar.drop_triggers(w);
end $$;

CREATE FUNCTION sidecar.report_breakage(watch_id integer, code text, message text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if not exists (select from sidecar.breakages b
                   where b.watch_id = report_breakage.watch_id and b.code = report_breakage.code) then
        raise warning 'sidecar: watch % could not record a change (%): %', watch_id, code, message
            using hint = 'Rows may go without a fresh vector until sidecar.watch is called again: see sidecar.status.';
        insert into sidecar.breakages (watch_id, code, message) values (watch_id, code, message);
    end if;
exception when others then
    raise warning 'sidecar: watch % could not report its fault: %', watch_id, sqlerrm;
end $$;

CREATE FUNCTION sidecar.resume(relation regclass DEFAULT NULL::regclass, target text DEFAULT NULL::text) RETURNS integer
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select sidecar.set_paused(relation, target, false) $$;

CREATE FUNCTION sidecar.retry(relation regclass, target text DEFAULT NULL::text, key jsonb DEFAULT NULL::jsonb, reason text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    w sidecar.watches := sidecar.need_watch(relation, target);
    wanted_key jsonb := case when key is not null then sidecar.canonical_key(w, key) end;
    enqueued bigint;
begin
    execute format('insert into sidecar.events_%s (%s, force) select %s, true from sidecar.dead_letters d
                    where d.watch_id = $1 and ($2 is null or d.key = $2) and ($3 is null or d.reason = $3)',
        w.id, sidecar.for_each_key(w.key_columns, null, 'k%1$s'),
        sidecar.for_each_key(w.key_columns, w.key_types, '(d.key->>%2$L)::%3$s'))
        using w.id, wanted_key, reason;
    get diagnostics enqueued = row_count;
    if enqueued > 0 then
        perform sidecar.wake_sleepers();
    end if;
    return enqueued;
end $_$;

CREATE FUNCTION sidecar.save_watch(wanted sidecar.watches, former sidecar.watches) RETURNS sidecar.watches
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    saved sidecar.watches;
    other sidecar.watches;
    fits boolean := (former.key_types, former.dimensions) = (wanted.key_types, wanted.dimensions);
begin
    select * into other from sidecar.watches w
        where w.id is distinct from former.id and coalesce(w.companion, w.relation) = coalesce(wanted.companion, wanted.relation)
          and (w.target = wanted.target or w.companion = wanted.companion);
    if found then
        raise exception 'column % of % holds the vectors of another watch, on %', quote_literal(other.target),
                coalesce(other.companion, other.relation), other.relation
            using errcode = 'duplicate_object', hint = format('Name another one, or: select sidecar.unwatch(%L, %L, drop_target => true)',
                                                              other.relation, other.target);
    end if;
    if former.id is null then
        insert into sidecar.watches (relation, key_columns, key_types, kind, source, target, companion, dimensions, index_kind,
                                     model)
            values (wanted.relation, wanted.key_columns, wanted.key_types, wanted.kind, wanted.source, wanted.target,
                    wanted.companion, wanted.dimensions, wanted.index_kind, wanted.model)
            returning * into saved;
        return saved;
    end if;
    if not fits then
        perform sidecar.drop_queue(former.id, keep_ledger => false);
    end if;
    -- The new generation voids what the ledger says until the backfill has looked at the row: it may have changed since.
    update sidecar.watches w
        set key_columns = wanted.key_columns, key_types = wanted.key_types, kind = wanted.kind, source = wanted.source,
            companion = wanted.companion, dimensions = wanted.dimensions, index_kind = wanted.index_kind, model = wanted.model,
            unwatched_at = null, created_at = now(),
            truncated_gen = nextval('sidecar.generation'), paused = former.paused and former.unwatched_at is null,
            fingerprint = case when former.dimensions = wanted.dimensions then w.fingerprint end,
            encoder = case when former.dimensions = wanted.dimensions then w.encoder end
        where w.id = former.id returning * into saved;
    return saved;
end $$;

CREATE FUNCTION sidecar.search_condition(filter jsonb) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(string_agg(case when f.value is null then format(' and t.%I is null', f.key)
                               else format(' and t.%I = %L', f.key, f.value) end, '' order by f.key), '')
    from jsonb_each_text(filter) f;
$$;

CREATE FUNCTION sidecar.search_document(relation regclass, columns text[], config regconfig) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    stranger text := (select c.name from unnest(columns) c(name)
                      where not exists (select from pg_attribute a where a.attrelid = relation and a.attname = c.name
                                        and a.attnum > 0 and not a.attisdropped) limit 1);
begin
    if stranger is not null or coalesce(cardinality(columns), 0) = 0 or array_position(columns, null) is not null then
        raise exception 'table % has no column %', relation, coalesce(quote_literal(stranger), 'NULL')
            using errcode = 'undefined_column', hint = 'Name text columns, or one tsvector column: document => array[''title''].';
    elsif cardinality(columns) = 1 and exists (select from pg_attribute a where a.attrelid = relation and a.attname = columns[1]
                                               and a.atttypid = 'tsvector'::regtype) then
        return format('t.%I', columns[1]);
    end if;
    return (select format('to_tsvector(%L::regconfig, %s)', config,
                          string_agg(format('coalesce(t.%I, '''')', c.name), ' || '' '' || ' order by c.n))
            from unnest(columns) with ordinality c(name, n));
end $$;

CREATE FUNCTION sidecar.search_statement(w sidecar.watches) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    ext text := quote_ident(sidecar.vector_schema());
    type text := case when ext <> 'public' then ext || '.' else '' end
                 || case w.index_kind when 'halfvec' then 'halfvec' else 'vector' end || format('(%s)', w.dimensions);
    operator text := case when ext <> 'public' then format('operator(%s.<=>)', ext) else '<=>' end;
    distance text := format('%s%I%s %s $1::%s', case when w.companion is not null then 'e.' else '' end, w.target,
                            case w.index_kind when 'halfvec' then '::' || type else '' end, operator, type);
begin
    if w.companion is null then
        return format('select * from %s order by %s limit 10', w.relation, distance);
    end if;
    return format('select t.* from %s e join %s t using (%s) order by %s limit 10', w.companion, w.relation,
                  sidecar.for_each_key(w.key_columns, null, '%2$I'), distance);
end $_$;

CREATE FUNCTION sidecar.set_paused(relation regclass, target text, paused boolean) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    changed integer;
begin
    if target is not null or (relation is not null and not exists (
            select from sidecar.watches w where w.relation = set_paused.relation and w.unwatched_at is null)) then
        perform sidecar.need_watch(relation, target);
    end if;
    update sidecar.watches w set paused = set_paused.paused
        where w.unwatched_at is null and w.paused is distinct from set_paused.paused
          and (set_paused.relation is null or w.relation = set_paused.relation)
          and (set_paused.target is null or w.target = set_paused.target);
    get diagnostics changed = row_count;
    perform pg_notify('sidecar_watches', '');
    return changed;
end $$;

CREATE FUNCTION sidecar.start_scan(watch_id integer, purpose text, force boolean DEFAULT false) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    insert into sidecar.scans (watch_id, purpose, force) values (watch_id, purpose, force)
    on conflict (watch_id, purpose) do update
        set last_key = null, force = excluded.force or (scans.force and scans.finished_at is null),
            started_at = now(), finished_at = null;
$$;

CREATE FUNCTION sidecar.start_watch(wanted sidecar.watches, former sidecar.watches, companion_name text) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    adds_target constant boolean := companion_name is null and sidecar.target_is_missing(wanted);
    saved sidecar.watches;
begin
    perform sidecar.lock_table(wanted.relation, case when adds_target then 'access exclusive' else 'share row exclusive' end);
    if former.id is null and (sidecar.find_watch(wanted.relation, wanted.target)).id is not null then
        return null;
    end if;
    if companion_name is not null and wanted.companion is null then
        wanted.companion := sidecar.create_companion(wanted, companion_name);
    elsif companion_name is not null then
        perform sidecar.lock_table(wanted.companion, 'share row exclusive');
    elsif adds_target then
        perform sidecar.add_target(wanted);
    end if;
    saved := sidecar.save_watch(wanted, former);
    perform sidecar.install_watch(saved);
    if former.id is not null then
        perform sidecar.start_scan(saved.id, 'sweep'); -- for what was deleted while nobody watched
    end if;
    if former.dimensions <> wanted.dimensions then
        perform sidecar.start_scan(saved.id, 'clear');
    elsif saved.fingerprint is not null and saved.model not in (saved.fingerprint, coalesce(saved.encoder, '')) then
        perform sidecar.reembed(saved.relation, saved.target, saved.model);
    end if;
    perform sidecar.warn_of_updates(saved);
    perform sidecar.warn_of_old_pgvector();
    return saved.id;
end $$;

CREATE FUNCTION sidecar.state_of(w sidecar.watches, pending bigint) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    scan text := (select s.purpose from sidecar.scans s where s.watch_id = w.id and s.finished_at is null
                  and s.purpose in ('clear', 'backfill') order by s.purpose desc limit 1);
    running text := (select string_agg(distinct format('%s (%s)', s.model, s.fingerprint), ', ') from sidecar.sidecars s
                     where s.seen_at > clock_timestamp() - interval '30 s');
    fits boolean := exists (select from sidecar.sidecars s where s.seen_at > clock_timestamp() - interval '30 s'
                            and s.dimensions = w.dimensions
                            and case when w.fingerprint is not null then s.fingerprint = w.fingerprint
                                else w.model is null or w.model in (s.model, s.fingerprint) end);
    fault text := sidecar.fault_of(w);
begin
    return case
        when fault is not null then 'broken: ' || fault
        when w.paused then 'paused'
        when running is null then 'no sidecar is running'
        when not fits then format('waiting for a sidecar with %s and %s dimensions; running: %s',
            coalesce('fingerprint ' || w.fingerprint, 'model ' || w.model, 'any model'), w.dimensions, running)
        when scan = 'clear' then 'clearing old vectors'
        when scan = 'backfill' then 'backfilling'
        when pending > 0 then 'catching up'
        else 'up to date' end;
end $$;

CREATE FUNCTION sidecar.status_of(only_relation regclass, exact boolean) RETURNS TABLE(relation regclass, target text, kind text, source text[], companion regclass, state text, rows bigint, embedded bigint, pending bigint, failed bigint, empty bigint, truncated bigint, coverage numeric, oldest_pending interval, lag_ms double precision, index text, model text, fingerprint text, query text, estimated boolean, watch_id integer, index_statement text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar.watches;
    counted record;
    ledger record;
    queue record;
begin
    for w in select * from sidecar.watches x
             where x.unwatched_at is null and (only_relation is null or x.relation = only_relation) order by x.id loop
        relation := w.relation; target := w.target; kind := w.kind; source := w.source; companion := w.companion;
        fingerprint := w.fingerprint; model := coalesce(w.encoder, w.model); watch_id := w.id;
        rows := null; query := null; estimated := false;
        if exists (select from pg_class c where c.oid = w.relation) then
            select c.n, c.estimated into rows, estimated from sidecar.count_rows(w.relation, exact) c;
            query := sidecar.search_statement(w);
        end if;
        ledger := sidecar.count_ledger(w, exact);
        queue := sidecar.count_queue(w);
        embedded := ledger.entries - ledger.empty - ledger.failed;
        empty := ledger.empty; failed := ledger.failed; truncated := ledger.truncated;
        -- A row that is neither in the ledger nor in the queue has still to be met by the backfill. Once that is over the
        -- queue alone knows: the difference of two estimates would never come to rest.
        pending := case when exact and rows is not null then sidecar.count_unknown(w) + queue.updates
            when exists (select from sidecar.scans s
                         where s.watch_id = w.id and s.purpose in ('clear', 'backfill') and s.finished_at is null)
                then greatest(rows - ledger.entries, queue.keys - queue.updates) + queue.updates
            else queue.keys end;
        estimated := estimated or ledger.estimated;
        oldest_pending := clock_timestamp() - queue.oldest;
        coverage := case when rows > empty then round(100.0 * least(1, embedded::numeric / (rows - empty)), 1) end;
        lag_ms := (select round(p.lag_ms::numeric, 1) from sidecar.progress p where p.watch_id = w.id);
        index := sidecar.index_of(w);
        index_statement := case when index = 'not built yet' then sidecar.index_statement(w) end;
        state := sidecar.state_of(w, pending);
        return next;
    end loop;
end $$;

CREATE VIEW sidecar.status AS
 SELECT relation,
    target,
    kind,
    source,
    companion,
    state,
    rows,
    embedded,
    pending,
    failed,
    empty,
    truncated,
    coverage,
    oldest_pending,
    lag_ms,
    index,
    model,
    fingerprint,
    query,
    estimated,
    watch_id,
    index_statement
   FROM sidecar.status_of(NULL::regclass, false) status_of(relation, target, kind, source, companion, state, rows, embedded, pending, failed, empty, truncated, coverage, oldest_pending, lag_ms, index, model, fingerprint, query, estimated, watch_id, index_statement);

CREATE FUNCTION sidecar.status_exact(relation regclass) RETURNS SETOF sidecar.status
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select * from sidecar.status_of(relation, true) $$;

CREATE FUNCTION sidecar.target_is_missing(w sidecar.watches) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    label text := format('%s.%I', w.relation, w.target);
    existing record;
begin
    select format_type(a.atttypid, a.atttypmod) as type, a.attnotnull, a.attgenerated, a.atttypid, a.atttypmod into existing
        from pg_attribute a where a.attrelid = w.relation and a.attname = w.target and a.attnum > 0 and not a.attisdropped;
    if not found then
        return true;
    elsif w.target = any (w.key_columns) or existing.attgenerated <> '' then
        raise exception 'column % is part of the key or generated, so it cannot hold the vector', label
            using errcode = 'invalid_table_definition', hint = 'Name another target: a missing column is added.';
    elsif existing.atttypid <> format('%I.vector', sidecar.vector_schema())::regtype then
        raise exception 'column % has type %, not vector(%)', label, existing.type, w.dimensions
            using errcode = 'datatype_mismatch', hint = 'Name another target: a missing column is added with the right type.';
    elsif existing.atttypmod not in (w.dimensions, -1) then
        raise exception 'column % has type %, but the watch asks for % dimensions', label, existing.type, w.dimensions
            using errcode = 'datatype_mismatch', hint = format('Say dimensions => %s, or name another target.', existing.atttypmod);
    elsif existing.atttypmod = -1 and w.index_kind = 'vector' then
        raise exception 'column % has no dimensions, so it cannot have an HNSW index on vector', label
            using errcode = 'datatype_mismatch',
                  hint = format('Run: alter table %s alter column %I type %I.vector(%s); or say index => ''halfvec''.',
                                w.relation, w.target, sidecar.vector_schema(), w.dimensions);
    elsif existing.attnotnull then
        raise exception 'column % is NOT NULL, but a new row has no vector yet', label
            using errcode = 'invalid_table_definition',
                  hint = format('Run: alter table %s alter column %I drop not null;', w.relation, w.target);
    end if;
    return false;
end $$;

CREATE FUNCTION sidecar.tree_of(relation regclass, OUT home regclass, OUT parent regclass, OUT is_leaf boolean, OUT level integer) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select p.relid, case when p.level > 0 then p.parentrelid end, p.isleaf, p.level
        from pg_partition_tree(tree_of.relation) p
    union all
    select c.oid, null, true, 0 from pg_class c where c.oid = tree_of.relation and c.relkind = 'r' and not c.relispartition
    order by level, 1;
$$;

CREATE FUNCTION sidecar.triggers_fit(w sidecar.watches) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select count(*) = 5 and bool_and(
        case when t.name like '%\_update' then t.names_columns <> sidecar.changes_unnamed(w)
             when t.name ~ '_(insert|delete)$' then t.for_row or not sidecar.needs_row_triggers(w.relation)
             else true end)
        and not sidecar.partition_lacks_trigger(w) and not sidecar.inherits(w.relation)
        from sidecar.triggers_of(w) t where t.fires;
$_$;

CREATE FUNCTION sidecar.triggers_of(w sidecar.watches, OUT name name, OUT home regclass, OUT for_row boolean, OUT names_columns boolean, OUT fires boolean) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select t.tgname, t.tgrelid::regclass, t.tgtype & 1 = 1, t.tgattr <> ''::int2vector,
           t.tgenabled = 'A' or (t.tgenabled = 'O' and not sidecar.is_subscribed(t.tgrelid)) from pg_trigger t
        where t.tgrelid in (w.relation, w.companion) and t.tgname ~ format('^sidecar_%s_[a-z]+$', w.id);
$_$;

CREATE FUNCTION sidecar.unwatch(relation regclass, target text DEFAULT NULL::text, drop_target boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar.watches := sidecar.find_watch(relation, target);
    is_there boolean := exists (select from pg_class c where c.oid = unwatch.relation);
begin
    if w.id is null or (w.unwatched_at is not null and not drop_target) then
        w := sidecar.need_watch(relation, target);
    end if;
    select * into w from sidecar.watches x where x.id = w.id and (x.unwatched_at is null or drop_target) for update;
    if not found then
        raise exception 'table % is not watched any longer', relation using errcode = 'undefined_object',
            hint = 'Another session has just ended the watch.';
    end if;
    perform sidecar.release_tables(w);
    if drop_target and exists (select from pg_class c where c.oid = coalesce(w.companion, w.relation)) then
        perform sidecar.drop_target(w);
    end if;
    perform sidecar.drop_queue(w.id, keep_ledger => is_there and not drop_target);
    if is_there and not drop_target then
        update sidecar.watches x set unwatched_at = now(), paused = false, broken = null where x.id = w.id;
    else
        delete from sidecar.watches x where x.id = w.id;
    end if;
    perform pg_notify('sidecar_watches', '');
end $$;

CREATE FUNCTION sidecar.usable_indexes(w sidecar.watches, home regclass, OUT index regclass, OUT valid boolean, OUT parent regclass) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select i.indexrelid, i.indisvalid, h.inhparent
        from pg_index i
        join pg_class c on c.oid = i.indexrelid
        join pg_am am on am.oid = c.relam and am.amname = 'hnsw'
        join pg_opclass o on o.oid = i.indclass[0] and o.opcname = w.index_kind || '_cosine_ops'
        join pg_attribute a on a.attrelid = i.indrelid and a.attname = w.target
        left join pg_inherits h on h.inhrelid = i.indexrelid
        where i.indrelid = usable_indexes.home and i.indpred is null
          and exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                      and d.refobjid = i.indrelid and d.refobjsubid = a.attnum);
$$;

CREATE FUNCTION sidecar.vector_schema() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    found_schema text;
    found_version text;
begin
    select n.nspname, e.extversion into found_schema, found_version
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector';
    if found_schema is null then
        raise exception 'the pgvector extension is not installed in database "%"', current_database()
            using errcode = 'undefined_object', hint = 'Run: create extension vector;';
    elsif string_to_array(split_part(found_version, '-', 1), '.')::int[] < array[0, 8, 0] then
        raise exception 'pgvector % is too old: 0.8.0 or newer is needed', found_version
            using errcode = 'feature_not_supported', hint = 'Install a newer pgvector, then: alter extension vector update;';
    end if;
    return found_schema;
end $$;

CREATE PROCEDURE sidecar.wait_embedded(IN relation regclass, IN key jsonb, IN target text DEFAULT NULL::text, IN timeout_ms integer DEFAULT 5000)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    w sidecar.watches;
    deadline timestamptz := clock_timestamp() + make_interval(secs => timeout_ms / 1000.0);
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'wait_embedded cannot see what others commit under %', current_setting('transaction_isolation')
            using errcode = 'object_not_in_prerequisite_state', hint = 'Call it outside a transaction, or under READ COMMITTED.';
    elsif timeout_ms is null or timeout_ms < 0 then
        raise exception 'timeout_ms is %', coalesce(timeout_ms::text, 'NULL')
            using errcode = 'invalid_parameter_value', hint = 'Give the longest wait in milliseconds, for example 5000.';
    end if;
    for w in select * from sidecar.watches x where x.relation = wait_embedded.relation and x.unwatched_at is null
             and (wait_embedded.target is null or x.target = wait_embedded.target) order by x.id loop
        perform sidecar.wait_one_embedded(w, sidecar.canonical_key(w, key), deadline, timeout_ms);
    end loop;
    if not found then
        perform sidecar.need_watch(relation, target);
    end if;
end $$;

CREATE FUNCTION sidecar.wait_one_embedded(w sidecar.watches, key jsonb, deadline timestamp with time zone, timeout_ms integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    condition text := sidecar.key_condition(w, ours => true);
    wanted_gen bigint;
    entry record;
    pause_s double precision := 0.002;
begin
    perform sidecar.check_row_exists(w, key); -- first, because unwatch locks the user's table before ours
    wanted_gen := sidecar.newest_event(w, key);
    loop
        -- Each statement of a READ COMMITTED transaction takes a new snapshot, so this sees what the sidecar commits.
        execute format('select t.gen, t.content_hash
                        from sidecar.ledger_%s t join sidecar.watches x on x.id = $2 and t.gen > x.truncated_gen
                        where %s and t.content_hash is not null and not exists (select from sidecar.scans s
                            where s.watch_id = $2 and s.purpose = ''clear'' and s.finished_at is null)', w.id, condition)
            into entry using key, w.id;
        if entry.gen >= coalesce(wanted_gen, 0) then
            perform sidecar.check_not_failed(w, key, entry.content_hash);
            return;
        end if;
        perform sidecar.check_row_exists(w, key);
        if clock_timestamp() >= deadline then
            raise exception 'row % of % was not embedded within % ms', key, w.relation, timeout_ms
                using errcode = 'SC001',
                      hint = format('The watch on %s: %s. See sidecar.status.', w.target, sidecar.state_of(w, 1));
        end if;
        perform pg_sleep(least(pause_s, greatest(0, extract(epoch from deadline - clock_timestamp()))));
        pause_s := least(pause_s * 1.5, 0.05);
    end loop;
end $_$;

CREATE FUNCTION sidecar.wake_sleepers() RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if exists (select from sidecar.wake w where w.asleep_until operator(pg_catalog.>) pg_catalog.clock_timestamp()) then
        perform pg_catalog.pg_notify('sidecar', '');
    end if;
end $$;

CREATE FUNCTION sidecar.warn_of_old_pgvector() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    version text := (select e.extversion from pg_extension e where e.extname = 'vector');
begin
    if string_to_array(split_part(version, '-', 1), '.')::int[] < array[0, 8, 4] then
        raise warning 'pgvector % has known faults in HNSW indexes', version
            using hint = 'Install 0.8.4 or newer, then: alter extension vector update;';
    end if;
end $$;

CREATE FUNCTION sidecar.warn_of_updates(w sidecar.watches) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    s record;
begin
    select t.n_tup_upd, t.n_live_tup into s from pg_stat_all_tables t where t.relid = w.relation;
    if w.companion is null and w.index_kind <> 'none' and s.n_tup_upd > greatest(10000, 2 * s.n_live_tup) then
        raise warning 'table % has seen % updates of % rows: an HNSW index on the same row makes each of them about 2 ms slower',
            w.relation, s.n_tup_upd, s.n_live_tup
            using hint = 'Keep the vector in a table of its own: companion => ''some_table''.';
    end if;
end $$;

CREATE FUNCTION sidecar.watch(relation regclass, source text[], target text DEFAULT NULL::text, kind text DEFAULT NULL::text, companion text DEFAULT NULL::text, dimensions integer DEFAULT 1152, model text DEFAULT NULL::text, index text DEFAULT 'halfvec'::text, replace boolean DEFAULT false) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    companion_name constant text := sidecar.companion_name(relation, companion);
    wanted sidecar.watches;
    former sidecar.watches;
    is_same boolean;
begin
    wanted.relation := relation; wanted.source := source; wanted.target := target; wanted.kind := kind;
    wanted.dimensions := dimensions; wanted.index_kind := index; wanted.model := model;
    wanted := sidecar.checked_watch(wanted, companion_name);
    select * into former from sidecar.watches w where w.relation = wanted.relation and w.target = wanted.target for update;
    if former.id is not null and former.unwatched_at is null then
        is_same := sidecar.is_same_watch(former, wanted) and (former.companion is null) = (companion_name is null);
        if is_same and sidecar.is_intact(former, wanted.key_columns, wanted.key_types) then
            return former.id;
        elsif not (is_same or replace) then
            raise exception '%.% is watched already, with source %, companion %, dimensions %, model %, index %', relation,
                quote_ident(former.target), former.source, coalesce(former.companion::text, 'none'), former.dimensions,
                coalesce(former.model, 'any'), former.index_kind
                using errcode = 'duplicate_object', hint = 'Add replace => true to change it, or name another target.';
        end if;
        perform sidecar.unwatch(relation, former.target);
    end if;
    return coalesce(sidecar.start_watch(wanted, former, companion_name),
                    sidecar.watch(relation, source, target, kind, companion, dimensions, model, index, replace));
end $$;

CREATE FUNCTION sidecar.watch(relation regclass, source text, target text DEFAULT NULL::text, kind text DEFAULT NULL::text, companion text DEFAULT NULL::text, dimensions integer DEFAULT 1152, model text DEFAULT NULL::text, index text DEFAULT 'halfvec'::text, replace boolean DEFAULT false) RETURNS integer
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select sidecar.watch(relation, array[source], target, kind, companion, dimensions, model, index, replace);
$$;

CREATE TABLE sidecar.breakages (
    watch_id integer NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE sidecar.dead_letters (
    watch_id integer NOT NULL,
    key jsonb NOT NULL,
    gen bigint NOT NULL,
    attempts smallint NOT NULL,
    reason text NOT NULL,
    message text NOT NULL,
    failed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT dead_letters_reason_check CHECK ((reason ~ '^[a-z0-9_]+$'::text))
);

CREATE VIEW sidecar.failures AS
 SELECT w.relation,
    w.target,
    d.key,
    d.reason,
    d.message,
    d.attempts,
    d.failed_at AS at
   FROM (sidecar.dead_letters d
     JOIN sidecar.watches w ON ((w.id = d.watch_id)))
  WHERE (w.unwatched_at IS NULL);

CREATE SEQUENCE sidecar.generation
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE sidecar.progress (
    watch_id integer NOT NULL,
    embedded_total bigint DEFAULT 0 NOT NULL,
    lag_ms double precision,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='50', autovacuum_vacuum_scale_factor='0');

CREATE TABLE sidecar.scans (
    watch_id integer NOT NULL,
    purpose text NOT NULL,
    last_key text[],
    force boolean DEFAULT false NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT scans_purpose_check CHECK ((purpose = ANY (ARRAY['clear'::text, 'backfill'::text, 'sweep'::text])))
);

CREATE TABLE sidecar.sidecars (
    id uuid NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    model text NOT NULL,
    fingerprint text NOT NULL,
    dimensions integer NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='50', autovacuum_vacuum_scale_factor='0');

CREATE TABLE sidecar.wake (
    sidecar_id uuid NOT NULL,
    asleep_until timestamp with time zone NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='50', autovacuum_vacuum_scale_factor='0');

ALTER TABLE sidecar.watches ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sidecar.watches_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY sidecar.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (watch_id, key);

ALTER TABLE ONLY sidecar.progress
    ADD CONSTRAINT progress_pkey PRIMARY KEY (watch_id);

ALTER TABLE ONLY sidecar.scans
    ADD CONSTRAINT scans_pkey PRIMARY KEY (watch_id, purpose);

ALTER TABLE ONLY sidecar.sidecars
    ADD CONSTRAINT sidecars_pkey PRIMARY KEY (id);

ALTER TABLE ONLY sidecar.wake
    ADD CONSTRAINT wake_pkey PRIMARY KEY (sidecar_id);

ALTER TABLE ONLY sidecar.watches
    ADD CONSTRAINT watches_pkey PRIMARY KEY (id);

CREATE UNIQUE INDEX watches_companion ON sidecar.watches USING btree (companion);

CREATE UNIQUE INDEX watches_home ON sidecar.watches USING btree (COALESCE((companion)::oid, (relation)::oid), target);

CREATE UNIQUE INDEX watches_target ON sidecar.watches USING btree (relation, target);

ALTER TABLE ONLY sidecar.dead_letters
    ADD CONSTRAINT dead_letters_watch_id_fkey FOREIGN KEY (watch_id) REFERENCES sidecar.watches(id) ON DELETE CASCADE;

ALTER TABLE ONLY sidecar.progress
    ADD CONSTRAINT progress_watch_id_fkey FOREIGN KEY (watch_id) REFERENCES sidecar.watches(id) ON DELETE CASCADE;

ALTER TABLE ONLY sidecar.scans
    ADD CONSTRAINT scans_watch_id_fkey FOREIGN KEY (watch_id) REFERENCES sidecar.watches(id) ON DELETE CASCADE;

REVOKE ALL ON FUNCTION sidecar.add_target(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.base_type(INOUT type oid, INOUT modifier integer, OUT printed text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.canonical_key(w sidecar.watches, key jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.changes_unnamed(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.check_companion(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.check_key_types(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.check_not_failed(w sidecar.watches, key jsonb, content_hash bytea) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.check_options(target text, source text[], dimensions integer, index_kind text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.check_place(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.check_relation(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.check_row_exists(w sidecar.watches, key jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.checked_watch(wanted sidecar.watches, companion_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.companion_name(relation regclass, companion text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.count_leaf_indexes(w sidecar.watches, OUT leaves bigint, OUT built bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.count_ledger(w sidecar.watches, exact boolean, OUT entries bigint, OUT empty bigint, OUT failed bigint, OUT truncated bigint, OUT estimated boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.count_queue(w sidecar.watches, OUT keys bigint, OUT updates bigint, OUT oldest timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.count_rows(relation regclass, exact boolean, OUT n bigint, OUT estimated boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.count_unknown(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.create_companion(w sidecar.watches, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.create_ledger(watch_id integer, key_definitions text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.create_queue(watch_id integer, key_definitions text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.create_trigger(w sidecar.watches, suffix text, event text, home regclass, manner text, call text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.create_trigger_functions(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.create_triggers(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.drop_queue(watch_id integer, keep_ledger boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.drop_target(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.drop_triggers(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.fault_of(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.find_index(home regclass, target text, OUT index regclass, OUT valid boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.find_watch(relation regclass, target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.for_each_key(columns text[], types text[], pattern text, separator text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.highest_generation(queue text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.hybrid_search(relation regclass, query_vector public.vector, query_text text, target text, document text[], k integer, filter jsonb, config regconfig, candidates integer, rrf_constant integer, vector_weight double precision, text_weight double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.hybrid_statement(w sidecar.watches, document text, condition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.index_name(w sidecar.watches, home regclass, replaced regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.index_of(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.index_statement(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.index_steps(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.inherits(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.install_watch(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.is_intact(w sidecar.watches, key_columns text[], key_types text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.is_own_uncommitted(row_xmin xid) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.is_same_watch(a sidecar.watches, b sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.is_subscribed(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.key_condition(w sidecar.watches, ours boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.kind_of_column(relation regclass, name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.kind_of_source(relation regclass, source text[], kind text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.lock_table(relation regclass, mode text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.need_watch(relation regclass, target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.needs_row_triggers(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.newest_event(w sidecar.watches, key jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.partition_lacks_trigger(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.pause(relation regclass, target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.primary_key_of(relation regclass, OUT columns text[], OUT types text[], OUT definitions text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.raise_generation() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.reembed(relation regclass, target text, model text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.release_tables(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.report_breakage(watch_id integer, code text, message text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.resume(relation regclass, target text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.retry(relation regclass, target text, key jsonb, reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.save_watch(wanted sidecar.watches, former sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.search_condition(filter jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.search_document(relation regclass, columns text[], config regconfig) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.search_statement(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.set_paused(relation regclass, target text, paused boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.start_scan(watch_id integer, purpose text, force boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.start_watch(wanted sidecar.watches, former sidecar.watches, companion_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.state_of(w sidecar.watches, pending bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.status_of(only_relation regclass, exact boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.status_exact(relation regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.target_is_missing(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.tree_of(relation regclass, OUT home regclass, OUT parent regclass, OUT is_leaf boolean, OUT level integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.triggers_fit(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.triggers_of(w sidecar.watches, OUT name name, OUT home regclass, OUT for_row boolean, OUT names_columns boolean, OUT fires boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.unwatch(relation regclass, target text, drop_target boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.usable_indexes(w sidecar.watches, home regclass, OUT index regclass, OUT valid boolean, OUT parent regclass) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.vector_schema() FROM PUBLIC;

REVOKE ALL ON PROCEDURE sidecar.wait_embedded(IN relation regclass, IN key jsonb, IN target text, IN timeout_ms integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.wait_one_embedded(w sidecar.watches, key jsonb, deadline timestamp with time zone, timeout_ms integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.wake_sleepers() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.warn_of_old_pgvector() FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.warn_of_updates(w sidecar.watches) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.watch(relation regclass, source text[], target text, kind text, companion text, dimensions integer, model text, index text, replace boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION sidecar.watch(relation regclass, source text, target text, kind text, companion text, dimensions integer, model text, index text, replace boolean) FROM PUBLIC;
