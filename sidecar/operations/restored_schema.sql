-- Statements of restored_schema.py, in the transaction of a migration. Parameters are SQLAlchemy's.
-- {schema} is the schema of our tables, which revision 0019 moved from sidecar to sidecar_internal.

-- name: schema_of_tables
-- NULL where there are none.
select case when to_regclass('sidecar_internal.watches') is not null then 'sidecar_internal'
            when to_regclass('sidecar.watches') is not null then 'sidecar' end

-- name: is_baseline
-- By the last column that the baseline got. Versions after it record themselves in sidecar.installation().
select exists (select from pg_attribute a where a.attrelid = to_regclass('sidecar.watches') and a.attname = 'expose')

-- name: create_revision_table
-- As Alembic creates it.
create table if not exists sidecar.alembic_version
    (version_num varchar(32) not null, constraint alembic_version_pkc primary key (version_num))

-- name: record_revision
insert into sidecar.alembic_version values (:revision)

-- name: delete_dangling
-- A restore with triggers off brings rows that refer to no watch: the next watch with their number would take them over. {table}
-- has the column watch_id, and is read sequentially.
delete from {schema}.{table} d where not exists (select from {schema}.watches w where w.id = d.watch_id)

-- name: raise_watch_ids
-- For rows that came without the value of their sequence: the next watch would get an id that is taken.
select setval('{schema}.watches_id_seq', max(w.id)) from {schema}.watches w
having max(w.id) > (select case when s.is_called then s.last_value else 0 end from {schema}.watches_id_seq s)
