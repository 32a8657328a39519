-- sidecar.embed: the vector of a text or a picture, in SQL. As a procedure everywhere; as a function, within one statement, from
-- the cache or over a connection of the session's own (embed_connection.sql).

-- The fingerprint of the model that a target names: 'table', 'table.column' or 'schema.table.column'; NULL where all watches have
-- one model. No setting of search_path: the caller's finds the table. Raises if there is no such watch.
create or replace function sidecar_internal.find_query_model(target text) returns text
language plpgsql stable as $$
declare
    parts constant text[] := case when target is not null then pg_catalog.parse_ident(target) end;
    relation regclass := pg_catalog.to_regclass(sidecar_internal.quoted_name(pg_catalog.trim_array(parts, 1)));
    column_name text;
begin
    if relation is not null then
        column_name := parts[pg_catalog.cardinality(parts)];
    else
        relation := pg_catalog.to_regclass(sidecar_internal.quoted_name(parts));
    end if;
    return sidecar_internal.query_model(target, relation, column_name);
end $$;

-- The parts of a name, quoted; NULL if there are none.
create or replace function sidecar_internal.quoted_name(parts text[]) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select string_agg(quote_ident(p.name), '.' order by p.n) from unnest(parts) with ordinality p(name, n);
$$;

-- The rest of find_query_model. A watch that has no fingerprint yet takes the one of a connected sidecar that fits it.
create or replace function sidecar_internal.query_model(named text, relation regclass, column_name text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    w sidecar_internal.watches;
    models integer;
begin
    if named is null then
        -- A watch without vectors takes the model of another one, if it may.
        select count(distinct (x.fingerprint, case when x.fingerprint is null then x.model end, x.dimensions)) into models
            from sidecar_internal.watches x
            where x.unwatched_at is null and (x.fingerprint is not null or not exists (
                select from sidecar_internal.watches f
                where f.unwatched_at is null and f.fingerprint is not null and f.dimensions = x.dimensions
                  and (x.model is null or x.model in (f.model, f.fingerprint))));
        if models <> 1 then
            raise exception '%', case models when 0 then 'nothing is watched, so there is no model to embed with'
                                 else format('the watches of this database have %s models', models) end
                using errcode = 'invalid_parameter_value', hint = 'Name a watch: target => ''table.column''. sidecar.status lists them.';
        end if;
        select * into w from sidecar_internal.watches x where x.unwatched_at is null order by x.fingerprint is null, x.id limit 1;
    elsif query_model.relation is null then
        raise exception 'there is no table %', named using errcode = 'undefined_table',
            hint = 'Write target => ''table.column'', with the schema if it is not in search_path. sidecar.status lists the watches.';
    else
        w := sidecar_internal.get_watch(query_model.relation, query_model.column_name);
    end if;
    return sidecar_internal.query_model_of(w);
end $$;

create or replace function sidecar_internal.query_model_of(w sidecar_internal.watches) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    fingerprint text := w.fingerprint;
begin
    if fingerprint is null and not pg_is_in_recovery() then -- a standby has no unlogged tables
        select s.fingerprint into fingerprint from sidecar_internal.query_servers s
            where s.dimensions = w.dimensions and (w.model is null or w.model in (s.model, s.fingerprint))
            order by s.seen_at desc limit 1;
    end if;
    if fingerprint is null then
        raise exception 'no sidecar that fits %.% is connected to this database', w.relation, quote_ident(w.target) using errcode = 'SC003',
            hint = format('Start `sidecar serve` with %s.', coalesce(w.model, format('a model of %s dimensions', w.dimensions)));
    end if;
    return fingerprint;
end $$;

-- The procedure. Commits: call it outside a transaction block. `vector` is what it answers: pass NULL.
create or replace procedure sidecar.embed(content text, inout vector vector, target text default null, timeout_ms integer default 10000)
language plpgsql as $$
declare
    fingerprint constant text := sidecar_internal.find_query_model(target);
    answer real[];
begin
    call sidecar_internal.embed_content(fingerprint, 'text', pg_catalog.convert_to(content, 'UTF8'), timeout_ms, answer);
    vector := answer;
end $$;
comment on procedure sidecar.embed(text, vector, text, integer) is
    'Embeds a text with the model of a watch: call sidecar.embed(''a green mug'', target => ''products.photo_embedding'', vector => null). Commits, so it '
    'is called outside a transaction block. Raises SC001 after timeout_ms, SC002 if there is nothing to embed, SC003 without a sidecar, '
    '53000 if too many queries wait.';

create or replace procedure sidecar.embed(content bytea, inout vector vector, target text default null, timeout_ms integer default 10000)
language plpgsql as $$
declare
    fingerprint constant text := sidecar_internal.find_query_model(target);
    answer real[];
begin
    call sidecar_internal.embed_content(fingerprint, 'image', content, timeout_ms, answer);
    vector := answer;
end $$;
comment on procedure sidecar.embed(bytea, vector, text, integer) is
    'Embeds a picture with the model of a watch; otherwise like the procedure for texts.';

-- The function. STABLE: the index is used for `order by embedding <=> sidecar.embed('a green mug', target => 'products.embedding')`.
create or replace function sidecar.embed(content text, target text default null, timeout_ms integer default 10000) returns vector
language sql stable parallel restricted as $$
    select sidecar_internal.embed_in_statement(sidecar_internal.find_query_model(target), 'text',
                                               pg_catalog.convert_to(content, 'UTF8'), timeout_ms);
$$;
comment on function sidecar.embed(text, text, integer) is
    'The vector of a text, with the model of a watch, within a statement: order by embedding <=> sidecar.embed(''a green mug'', '
    '''products.embedding''). Needs sidecar.enable_embed() once, for all but what the cache knows.';

create or replace function sidecar.embed(content bytea, target text default null, timeout_ms integer default 10000) returns vector
language sql stable parallel restricted as $$
    select sidecar_internal.embed_in_statement(sidecar_internal.find_query_model(target), 'image', content, timeout_ms);
$$;
comment on function sidecar.embed(bytea, text, integer) is 'The vector of a picture within a statement; otherwise like the function for texts.';
