-- Statements with which ingest checks the schema before it starts.

-- name: schema_revision
-- One row; none where the schema was restored without its rows.
select version_num from sidecar.alembic_version

-- name: installed_code
-- The digest of the files whose functions and views are installed.
select code_digest from sidecar.installation()

-- name: lift_statement_timeout
-- For raise_generation, which after a restore reads every ledger: about a minute for a hundred million rows.
set local statement_timeout = 0

-- name: raise_generation
-- After a restore, the sequence of generations may be behind the ledgers.
select sidecar_internal.raise_generation()
