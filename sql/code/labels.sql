-- Labels: which of a few words fits a row, by its vector. Sidecars embed the words (ingest/label_keeper.py).

-- Sets the labels of a watch, in place of the ones it has: none with '{}'. `template` is what is embedded of each, '{}' standing for
-- the label. A running sidecar embeds what is new within seconds, and all of them again after a change of the model.
create or replace function sidecar.set_labels(relation regclass, labels text[], target text default null, template text default '{}') returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    faulty text;
begin
    if labels is null or cardinality(labels) > 1000 then
        raise exception '%', coalesce(cardinality(labels) || ' labels', 'labels is NULL') using errcode = 'invalid_parameter_value',
            hint = 'Give up to 1000, or ''{}'' to have none.';
    elsif template is null or position('{}' in template) = 0 then
        raise exception 'template is %', coalesce(quote_literal(template), 'NULL') using errcode = 'invalid_parameter_value',
            hint = 'It needs {} where the label goes: template => ''a photo of a {}''.';
    end if;
    select coalesce(quote_literal(l.label), 'NULL') into faulty from unnest(labels) l(label)
        where l.label is null or l.label !~ '[^[:space:][:punct:]]' or length(l.label) > 1000 limit 1;
    if found then
        raise exception 'a label is %', left(faulty, 100) using errcode = 'invalid_parameter_value', hint = 'A label is a text of 1 to 1000 characters.';
    end if;
    select quote_literal(l.label) into faulty from unnest(labels) l(label) group by l.label having count(*) > 1 limit 1;
    if found then
        raise exception 'label % is there twice', faulty using errcode = 'duplicate_object', hint = 'Name it once.';
    end if;
    -- Calls for one watch come one after another.
    perform from sidecar_internal.watches x where x.id = w.id for no key update;
    delete from sidecar_internal.labels x where x.watch_id = w.id and x.label <> all (labels);
    insert into sidecar_internal.labels as x (watch_id, label, position, prompt)
        select w.id, l.label, l.position, replace(template, '{}', l.label) from unnest(labels) with ordinality l(label, position)
        on conflict (watch_id, label) do update set position = excluded.position, prompt = excluded.prompt,
            fingerprint = case when x.prompt = excluded.prompt then x.fingerprint end, vector = case when x.prompt = excluded.prompt then x.vector end,
            error = case when x.prompt = excluded.prompt then x.error end;
end $$;
comment on function sidecar.set_labels is
    'Sets the words that sidecar.labels compares the rows of a watch with, in place of earlier ones: sidecar.set_labels(''products'', '
    'array[''mug'', ''chair''], template => ''a photo of a {}'').';

-- Raises unless labels of a watch are set and embedded with the model of its vectors.
create or replace function sidecar_internal.check_labels(w sidecar_internal.watches) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    waiting record;
begin
    if not exists (select from sidecar_internal.labels x where x.watch_id = w.id) then
        raise exception '%.% has no labels', w.relation, quote_ident(w.target) using errcode = 'object_not_in_prerequisite_state',
            hint = format('select sidecar.set_labels(%L, array[''mug'', ''chair''], target => %L);', w.relation, w.target);
    end if;
    select x.label, x.error into waiting from sidecar_internal.labels x
        where x.watch_id = w.id and (w.fingerprint is null or x.fingerprint is distinct from w.fingerprint or x.vector is null)
        order by x.error is null, x.position limit 1;
    if found then
        raise exception 'label % of %.% %', quote_literal(waiting.label), w.relation, quote_ident(w.target),
                coalesce('cannot be embedded: ' || waiting.error, 'has no vector yet')
            using errcode = 'object_not_in_prerequisite_state',
                  hint = case when waiting.error is not null then 'Set other labels with sidecar.set_labels.'
                              when w.fingerprint is null then 'The first vectors of the watch have to be there, and a sidecar with their model.'
                              else 'A sidecar with the model of the watch embeds it within seconds: is one running?' end;
    end if;
end $$;

-- How well each label fits each row, or the row with `only_key`: the cosine of the two vectors, and where it means something (a
-- label and a picture, and a model with a sigmoid) the model's probability that they belong together. Reads all vectors, once.
create or replace function sidecar.labels(relation regclass, target text default null, only_key jsonb default null, at_least double precision default null)
returns table (key jsonb, label text, probability double precision, cosine double precision)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    w constant sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    ext constant text := quote_ident(sidecar_internal.vector_schema());
    vector_table constant regclass := coalesce(w.companion, w.relation);
    vector_key constant text[] := sidecar_internal.exact_keys(w, vector_table, 'h');
    is_pair boolean;
begin
    perform sidecar_internal.check_labels(w);
    -- Normalized in subqueries of their own (offset 0): each vector is read and detoasted once, and not again for every pair.
    is_pair := w.kind = 'image' and exists (select from sidecar_internal.labels x where x.watch_id = w.id and x.scale is not null);
    if at_least is not null and not is_pair then
        raise exception 'labels of %.% have no probability: %', w.relation, quote_ident(w.target),
                case when w.kind = 'image' then 'the model has no scale and bias for it' else 'its rows are texts, and the model was trained on pictures with texts' end
            using errcode = 'invalid_parameter_value', hint = 'Leave at_least out, and order by cosine.';
    end if;
    return query execute format('
        select jsonb_build_object(%1$s), l.label, p.probability, c.cosine
        from (select %2$s, %4$s.l2_normalize(sidecar_internal.exactly(null::%8$s, h.%3$I)::%4$s.vector) as vector from %5$s h%6$s where h.%3$I is not null%7$s offset 0) n
        cross join (select x.label, %4$s.l2_normalize(x.vector::%4$s.vector) as vector, x.scale, x.bias from sidecar_internal.labels x
                    where x.watch_id = $1 offset 0) l
        cross join lateral (select -(n.vector operator(%4$s.<#>) l.vector) as cosine) c
        cross join lateral (select case when $3 then 1 / (1 + exp(-greatest(least(l.scale * c.cosine + l.bias, 600), -600))) end as probability) p
        where $4 is null or p.probability >= $4',
        sidecar_internal.key_fields(w, 'n'), sidecar_internal.for_each_key(w.key_columns, vector_key, '%3$s as k%1$s'), w.target, ext, vector_table,
        case when only_key is not null then format(' join %s on %s', sidecar_internal.typed_key(w, '$2'),
            sidecar_internal.for_each_key(w.key_columns, vector_key, '%3$s = r.k%1$s', ' and ')) else '' end,
        case when w.companion is not null then format(' and exists (select from %s t where %s)', w.relation,
            sidecar_internal.for_each_key(vector_key, sidecar_internal.exact_keys(w, w.relation, 't'), '%3$s = %2$s', ' and ')) else '' end,
        sidecar_internal.stored_type(w))
        using w.id, case when only_key is not null then sidecar_internal.numbered_key(w, sidecar_internal.canonical_key(w, only_key)) end, is_pair, at_least;
end $$;
comment on function sidecar.labels is
    'How well each label of sidecar.set_labels fits each row, or the row with only_key: cosine, and for pictures the model''s probability. '
    'Of the vectors as they are now; reads all of them.';
