-- Names that a caller may have meant.

-- The pairs of letters in a name, each once, with its ends: ' t', 'ti', 'it', 'tl', 'le', 'e ' of "title". Case does not count.
create or replace function sidecar_internal.letter_pairs(name text) returns text[]
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select array_agg(distinct substr(' ' || lower(name) || ' ', i, 2)) from generate_series(1, length(name) + 1) i;
$$;

-- The beginning of a hint: the name that shares most pairs of letters with `wanted`, as "Did you mean 'title'? "; empty if none
-- shares 4 of 10 (2 * common / all: 'titel' and 'title' have 5 of 10, 'photo' and 'photo_embedding' 4.5).
create or replace function sidecar_internal.did_you_mean(wanted text, names text[]) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select coalesce((
        select format('Did you mean %L? ', n.name)
        from unnest(names) n(name)
        cross join lateral (select sidecar_internal.letter_pairs(wanted) as a, sidecar_internal.letter_pairs(n.name) as b) p
        cross join lateral (select 2.0 * (select count(*) from unnest(p.a) x where x = any (p.b)) / (cardinality(p.a) + cardinality(p.b)) as share) s
        where s.share >= 0.4
        order by s.share desc, n.name limit 1), '');
$$;

-- The same among the columns of a table.
create or replace function sidecar_internal.did_you_mean_column(wanted text, relation regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select sidecar_internal.did_you_mean(wanted, array(
        select a.attname::text from pg_attribute a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped));
$$;
