-- What ingest asks of the schema before it starts.

-- name: schema_revision
select version_num from sidecar.alembic_version

-- name: installed_code
-- Which functions and views are installed: the digest of their files.
select code_digest from sidecar.installation()

-- name: begin_raise_generation
-- It reads every ledger, once at start: about a minute for a hundred million rows, beyond the session's limit.
set local statement_timeout = 0

-- name: raise_generation
select sidecar.raise_generation()
