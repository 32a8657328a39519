-- Statements of failures.py, for GET /failures. Read-only, with a reader's locks and rights: by the view, all failures of the watches $1.

-- name: failures_page
-- The newest first, with the reason $2 unless it is NULL, after the place $3, $4, $5 unless it is NULL.
select w.id as watch_id, f.key::text as key, md5(f.key::text) as key_digest, f.reason, f.message, f.attempts, f.at
from sidecar.failures f join sidecar_internal.watches w on w.relation = f.relation and w.target = f.target and w.unwatched_at is null
where w.id = any ($1::integer[]) and ($2::text is null or f.reason = $2::text)
  and ($3::timestamptz is null or (f.at, w.id, md5(f.key::text)) < ($3::timestamptz, $4::integer, $5::text))
order by f.at desc, w.id desc, md5(f.key::text) desc limit $6::integer

-- name: failure_reasons
-- The most frequent first.
select f.reason, count(*) as rows, sidecar_internal.advice_on(f.reason) as advice, sidecar_internal.retry_helps(f.reason) as retry_helps
from sidecar.failures f join sidecar_internal.watches w on w.relation = f.relation and w.target = f.target and w.unwatched_at is null
where w.id = any ($1::integer[])
group by f.reason order by count(*) desc, f.reason
