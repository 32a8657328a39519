-- Which version of schema `sidecar` is installed. Catalog look-ups and tables of one row; no locks but those of a reader.

-- name: is_migrated
select current_database(), to_regclass('sidecar.status') is not null

-- name: has_tables
select to_regclass('sidecar_internal.watches') is not null

-- name: has_revision_table
select to_regclass('sidecar.alembic_version') is not null

-- name: revision
-- No row in a schema that was restored without its rows.
select version_num from sidecar.alembic_version

-- name: is_recorded
select to_regprocedure('sidecar.installation()') is not null

-- name: recorded
-- A function, so that a restore of the schema alone brings it along.
select revision, code_digest from sidecar.installation()
