-- Statements of search.py, for POST /search. Read-only, with a reader's locks.

-- name: find_searched_watches
-- Active watches of the tables with the name $1 as SQL reads it: schema.table, or a table in any schema; NULL: of all tables.
-- sidecar_internal.watches is small. Tables that are not watched appear not to exist.
select w.id as watch_id, w.relation::oid::bigint as relation, format('%I.%I', n.nspname, c.relname) as table_name, w.target, w.kind,
       w.dimensions, w.fingerprint, coalesce(w.encoder, w.model) as model, w.source, w.key_columns,
       (select format('%I.%I', m.nspname, h.relname) from pg_class h join pg_namespace m on m.oid = h.relnamespace where h.oid = w.companion) as companion,
       e.names as exposed, array(select t.printed from unnest(e.names) with ordinality u(name, i)
                                 join pg_attribute a on a.attrelid = w.relation and a.attname = u.name
                                 cross join format_type(a.atttypid, a.atttypmod) t(printed) order by u.i) as exposed_types,
       sidecar_internal.exposes_picture(w) as shows_pictures, w.expose, w.paused,
       coalesce(w.broken, (select string_agg(distinct b.message, '; ') from sidecar_internal.breakages b where b.watch_id = w.id)) as broken,
       (select json_object_agg(f.name, f.printed) from sidecar_internal.filter_columns(w, 't', w.key_columns || w.expose, true) f
        where f.kind is null)::text as incomparable
from parse_ident($1) as named(parts)
join sidecar_internal.watches w on w.unwatched_at is null
join pg_class c on c.oid = w.relation
join pg_namespace n on n.oid = c.relnamespace
cross join sidecar_internal.exposed_columns(w) e(names)
where parts is null or parts = array[c.relname::text] or parts = array[n.nspname::text, c.relname]
order by w.id

-- name: list_watched
-- Of the watches only: tables that are not watched appear not to exist.
select format('%I.%I', n.nspname, c.relname), w.target
from sidecar_internal.watches w join pg_class c on c.oid = w.relation join pg_namespace n on n.oid = c.relnamespace
where w.unwatched_at is null order by 1, 2

-- name: limit_search
-- Milliseconds: $1 for the search, $2 for a lock.
select set_config('transaction_read_only', 'on', true), set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)

-- name: nearest_rows
-- The HNSW index, where there is one and it serves. $1 relation, $2 vector, $3 target, $4 k, $5 filter, $6 columns, $7
-- document, $8 characters of a document, $9 bytes of the columns and documents of all rows: columns beyond come as NULL; $10 rows to skip, $11 the
-- place to go on after.
select f.key::text as key, f.distance, case when f.bytes <= $9::bigint then f.shown end as shown, left(f.document_text, $8::integer) as document,
       f.place
from (select s.key, s.distance, s.shown::text as shown, s.document_text, s.place::text as place,
             sum(octet_length(s.shown::text) + coalesce(octet_length(s.document_text), 0)) over (rows unbounded preceding) as bytes
      from sidecar.search_page($1::oid::regclass, $2::real[], $3::text, $4::integer, $5::jsonb, $6::text[], $7::text[],
                               $10::integer, $11::jsonb) s) f
