-- Requests for query vectors, which sessions make with sidecar.embed: statements of query_requests.py. The states of a request
-- are drawn in sql/tables/0024_query_vectors.sql.

-- name: register_query_server
-- Primary key. The lock, which lasts as long as the session, says that the sidecar $1 answers queries.
with alive as (
    select pg_advisory_lock(hashtextextended('sidecar.queries.' || $1::uuid::text, 0))
)
insert into sidecar_internal.query_servers (id, model, fingerprint, dimensions)
select $1::uuid, $2::text, $3::text, $4::integer from alive
on conflict (id) do update set seen_at = clock_timestamp()

-- name: renew_query_server
-- Primary key. $5 what an answer takes, in seconds, or NULL. After a crash of the server the row is gone. Rows of sidecars that died are deleted.
with gone as (
    delete from sidecar_internal.query_servers s where s.seen_at < clock_timestamp() - interval '1 min'
)
insert into sidecar_internal.query_servers (id, model, fingerprint, dimensions, answer_s)
select $1::uuid, $2::text, $3::text, $4::integer, $5::float8
on conflict (id) do update set seen_at = clock_timestamp(), answer_s = excluded.answer_s

-- name: delete_query_server
-- Primary key.
delete from sidecar_internal.query_servers where id = $1

-- name: take_requests
-- Primary key; row locks with SKIP LOCKED. Of the requests $1 those that wait for this model. A content of more than $4 bytes is
-- not sent.
with picked as (
    select q.id from sidecar_internal.query_vectors q
    where q.id = any ($1::bigint[]) and q.fingerprint = $2 and q.content is not null and q.taken_by is null and q.deadline > clock_timestamp()
    for update skip locked
)
update sidecar_internal.query_vectors q set taken_by = $3::uuid from picked p where q.id = p.id
returning q.id, q.kind, case when octet_length(q.content) <= $4 then q.content end as content, octet_length(q.content) as bytes,
          extract(epoch from q.deadline - clock_timestamp())::float8 as left_s

-- name: find_requests
-- Partial index query_vectors_unanswered. Requests whose notification was missed, and those of sidecars that died.
select q.id from sidecar_internal.query_vectors q
where q.content is not null and q.fingerprint = $1 and q.deadline > clock_timestamp()
  and (q.taken_by is null or not exists (select from sidecar_internal.query_servers s
                                         where s.id = q.taken_by and s.seen_at > clock_timestamp() - interval '10 s'))
order by q.id limit 1000

-- name: free_requests
-- Primary key. Of the requests $1 those that a dead sidecar had taken wait again.
update sidecar_internal.query_vectors q set taken_by = null
where q.id = any ($1::bigint[]) and q.content is not null and q.taken_by is not null
  and not exists (select from sidecar_internal.query_servers s where s.id = q.taken_by and s.seen_at > clock_timestamp() - interval '10 s')

-- name: answer_requests
-- Primary key. $1 ids, $2 their vectors, $3 errors and $4 their SQLSTATEs, NULL each where there is none. A request that was
-- taken from us, or deleted, is left alone.
update sidecar_internal.query_vectors q
set vector = a.vector::real[], error = a.error, sqlstate = a.sqlstate, content = null, used_at = clock_timestamp()
from unnest($1::bigint[], $2::{vector_schema}.vector[], $3::text[], $4::text[]) as a(id, vector, error, sqlstate)
where q.id = a.id and q.taken_by = $5::uuid and q.content is not null

-- name: delete_old_answers
-- Reads the whole table, without the vectors. The least recently used beyond $1 bytes, but none that was used within the last ten
-- seconds: a session may be about to read it. And requests whose session has stopped waiting.
with entry as (
    select q.id, sum(pg_column_size(q.vector) + 200) over (order by q.used_at desc, q.id) as bytes, q.used_at
    from sidecar_internal.query_vectors q where q.vector is not null
)
delete from sidecar_internal.query_vectors q
where q.id in (select e.id from entry e where e.bytes > $1 and e.used_at < clock_timestamp() - interval '10 s')
   or (q.error is not null and q.used_at < clock_timestamp() - interval '10 s')
   or (q.content is not null and q.deadline < clock_timestamp() - interval '10 s')
