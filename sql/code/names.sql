-- Names that a caller may have meant.

-- The pairs of letters in a name, each once, with its ends: ' t', 'ti', 'it', 'tl', 'le', 'e ' of "title". Case does not count.
create or replace function sidecar_internal.letter_pairs(name text) returns text[]
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select array_agg(distinct substr(' ' || lower(name) || ' ', i, 2)) from generate_series(1, length(name) + 1) i;
$$;

-- The beginning of a hint: the name that shares most pairs of letters with `wanted`, as "Did you mean 'title'? "; empty if none
-- shares 4 of 10 (2 * common / all: 'titel' and 'title' have 5 of 10, 'photo' and 'photo_embedding' 4.5). The pairs of each name are
-- made once, behind OFFSET 0: else the planner would put the call into every comparison (1,500 columns: 25 s in place of 0.1 s).
create or replace function sidecar_internal.did_you_mean(wanted text, names text[]) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    with w as materialized (select sidecar_internal.letter_pairs(wanted) as pairs)
    select coalesce((
        select format('Did you mean %L? ', n.name)
        from w
        cross join lateral (select u.name, sidecar_internal.letter_pairs(u.name) as pairs from unnest(names) u(name) offset 0) n
        cross join lateral (select 2.0 * count(*) / (cardinality(w.pairs) + cardinality(n.pairs)) as share
                            from unnest(n.pairs) x where x = any (w.pairs) offset 0) s
        where s.share >= 0.4
        order by s.share desc, n.name limit 1), '');
$$;

-- The same among the columns of a table.
create or replace function sidecar_internal.did_you_mean_column(wanted text, relation regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select sidecar_internal.did_you_mean(wanted, array(
        select a.attname::text from pg_attribute a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped));
$$;
