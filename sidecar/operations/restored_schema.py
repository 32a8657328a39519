"""A schema `sidecar` that was restored without its rows, or with some of them: what `sidecar migrate` does about it.

`pg_dump --schema-only`, Rails' structure.sql and clones of the schema bring tables, functions and triggers, but not the
row that says of which version they are, nor the watches that queues and triggers belong to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from sidecar.errors import SchemaError
from sidecar.postgres.shipped import sql_directory

BASELINE = "0016"

# Where the tables stand: in `sidecar` up to 0018.
_SCHEMA_OF_TABLES = """
    select case when to_regclass('sidecar_internal.watches') is not null then 'sidecar_internal'
                when to_regclass('sidecar.watches') is not null then 'sidecar' end
"""
_HAS_REVISION_TABLE = "select to_regclass('sidecar.alembic_version') is not null"
_REVISION = "select version_num from sidecar.alembic_version"
_RECORDS_ITSELF = "select to_regprocedure('sidecar.installation()') is not null"
_INSTALLED = "select revision from sidecar.installation()"
# The last column that the baseline got. A version after it records itself in sidecar.installation().
_IS_BASELINE = """
    select exists (select from pg_attribute a where a.attrelid = to_regclass('sidecar.watches') and a.attname =
        'expose')
"""
_CREATE_REVISION_TABLE = """
    create table if not exists sidecar.alembic_version
        (version_num varchar(32) not null, constraint alembic_version_pkc primary key (version_num))
"""
_STAMP = "insert into sidecar.alembic_version values (:revision)"
# A restore with triggers off brings rows that refer to no watch: the next one with this number would take them for its.
_DANGLING = "delete from {0}.{1} d where not exists (select from {0}.watches w where w.id = d.watch_id)"
_TABLES_OF_WATCHES = ("breakages", "scans", "progress")
# Rows that came without their sequence: the next watch would get a number that is taken.
_RAISE_NUMBERS = """
    select setval('{0}.watches_id_seq', max(w.id)) from {0}.watches w
    having max(w.id) > (select case when s.is_called then s.last_value else 0 end from {0}.watches_id_seq s)
"""


@dataclass(slots=True)
class TakenUp:
    """What was restored. `revision` is None where the row that names it was there; `watch_ids` had no watch's row."""

    revision: str | None = None
    watch_ids: list[int] = field(default_factory=list)


def take_up(connection: Connection) -> TakenUp | None:
    """Records the revision where its row is missing, and drops what belongs to watches whose row is missing.

    In the caller's transaction. Returns None where nothing was missing. Raises SchemaError for tables of a version that
    cannot be told; psycopg.Error where the role may not, or a watched table stays locked.
    """
    schema = connection.execute(text(_SCHEMA_OF_TABLES)).scalar()
    if schema is None:
        _refuse_half_a_restore(connection)
        return None
    taken_up = TakenUp(revision=_stamp(connection, schema), watch_ids=_drop_leftovers(connection, schema))
    for table in (*_TABLES_OF_WATCHES, "failures" if schema == "sidecar_internal" else "dead_letters"):
        connection.execute(text(_DANGLING.format(schema, table)))
    connection.execute(text(_RAISE_NUMBERS.format(schema)))
    return taken_up if taken_up.revision is not None or taken_up.watch_ids else None


def _refuse_half_a_restore(connection: Connection) -> None:
    """Raises SchemaError for a schema `sidecar` that says which version it is, without the tables of that version."""
    if connection.execute(text(_HAS_REVISION_TABLE)).scalar() and connection.execute(text(_REVISION)).first():
        raise SchemaError(
            "the schema `sidecar` is there without the tables of `sidecar_internal` (a restore of one schema alone?)."
            "\nHINT: restore both, or drop schema sidecar cascade; then sidecar migrate, and watch again. Vectors stay "
            "where they are; each row is embedded once."
        )


def _stamp(connection: Connection, schema: str) -> str | None:
    if connection.execute(text(_HAS_REVISION_TABLE)).scalar() and connection.execute(text(_REVISION)).first():
        return None
    revision = _recognise(connection, schema)
    connection.execute(text(_CREATE_REVISION_TABLE))
    connection.execute(text(_STAMP), {"revision": revision})
    return revision


def _recognise(connection: Connection, schema: str) -> str:
    if connection.execute(text(_RECORDS_ITSELF)).scalar():
        return str(connection.execute(text(_INSTALLED)).scalar_one())
    if connection.execute(text(_IS_BASELINE)).scalar():
        return BASELINE
    if schema == "sidecar_internal":
        raise SchemaError(
            "the schema `sidecar_internal` is there without the functions of `sidecar` (a restore of one "
            "schema alone?)."
            "\nHINT: restore both, or drop schema sidecar_internal cascade; then sidecar migrate, and watch again. "
            "Vectors stay where they are; each row is embedded once."
        )
    raise SchemaError(
        "the tables of schema `sidecar` are there, but not the row that says of which version they are (a restore of "
        f"the schema alone?), and they are older than {BASELINE}.\nHINT: drop schema sidecar cascade; then sidecar "
        "migrate, and watch again. Vectors stay where they are; each row is embedded once."
    )


def _drop_leftovers(connection: Connection, schema: str) -> list[int]:
    """The numbers of the watches that something was left of."""
    leftovers = (sql_directory() / "tables" / "leftovers.sql").read_text(encoding="utf-8")
    leftovers = leftovers.replace("sidecar_internal", schema)
    driver = connection.connection.dbapi_connection
    assert driver is not None
    cursor = driver.cursor()
    cursor.execute(leftovers)  # without parameters, so that % means itself
    found = cursor.fetchall()
    for _, statement in found:
        cursor.execute(statement)
    return sorted({watch_id for watch_id, _ in found})
