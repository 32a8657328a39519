-- Statements of failures.py, for GET /failures. Read-only, with a reader's locks.

-- name: failures_page
-- The newest first, by all failures of the watches $1, with the reason $2 unless it is NULL, after the place $3, $4, $5 unless it is NULL.
select d.watch_id, coalesce(d.wide_key, d.key)::text as key, d.key::text as stored_key, d.reason, d.message, d.attempts, d.failed_at as at
from sidecar_internal.failures d
where d.watch_id = any ($1::integer[]) and ($2::text is null or d.reason = $2::text)
  and ($3::timestamptz is null or (d.failed_at, d.watch_id, d.key) < ($3::timestamptz, $4::integer, $5::jsonb))
order by d.failed_at desc, d.watch_id desc, d.key desc limit $6::integer

-- name: failure_reasons
-- Of the watches $1, the most frequent first.
select d.reason, count(*) as rows, sidecar_internal.advice_on(d.reason) as advice, sidecar_internal.retry_helps(d.reason) as retry_helps
from sidecar_internal.failures d where d.watch_id = any ($1::integer[])
group by d.reason order by count(*) desc, d.reason
