-- Statements of target_search.py, for POST /search. Read-only, with a reader's locks.

-- name: target_rows
-- The HNSW index of each target, where it serves. $1 relation, $2 vector, $3 targets, $4 k, $5 filter, $6 columns, $7 document, $8
-- characters of a document, $9 bytes of the columns and documents of all rows: columns beyond come as NULL; $10 weights, $11 candidates.
select f.key::text as key, f.distance, case when f.bytes <= $9::bigint then f.shown end as shown, left(f.document_text, $8::integer) as document,
       f.score, f.distances::text as distances, f.ranks::text as ranks
from (select s.key, s.distance, s.shown::text as shown, s.document_text, s.score, s.distances, s.ranks,
             sum(octet_length(s.shown::text) + coalesce(octet_length(s.document_text), 0)) over (rows unbounded preceding) as bytes
      from sidecar.search_targets($1::oid::regclass, '[' || array_to_string($2::real[], ',') || ']', $3::text[], $4::integer, $5::jsonb,
                                  $6::text[], $7::text[], $10::float8[], $11::integer) s) f
