-- Statements of hybrid_search.py, for POST /search. Read-only, with a reader's locks.

-- name: hybrid_rows
-- The HNSW and the GIN index, where they serve. $1 relation, $2 vector, $3 target, $4 k, $5 filter, $6 columns, $7 document, $8
-- characters of a document, $9 bytes of the columns and documents of all rows: columns beyond come as NULL. $10 the words,
-- $11 the columns that they are looked for in, $12 text search configuration, $13 candidates, $14 RRF constant, $15 and $16 weights.
select f.key::text as key, f.distance, case when f.bytes <= $9::bigint then f.shown end as shown, left(f.document_text, $8::integer) as document,
       null as vector, f.score, f.vector_rank, f.text_rank
from (select s.key, s.distance, s.shown::text as shown, s.document_text, s.score, s.vector_rank, s.text_rank,
             sum(octet_length(s.shown::text) + coalesce(octet_length(s.document_text), 0)) over (rows unbounded preceding) as bytes
      from sidecar_internal.hybrid_exposed($1::oid::regclass, $3::text, $2::real[], $10::text, $11::text[], $12::text, $4::integer, $5::jsonb,
                                           $6::text[], $7::text[], $13::integer, $14::integer, $15::float8, $16::float8) s) f
