"""Repairs a schema `sidecar` that was restored without its rows, or with some of them, before it is migrated.

`pg_dump --schema-only`, Rails' structure.sql and clones of the schema bring tables, functions and triggers, but neither
the row with their revision nor the watches that queues and triggers belong to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from sidecar.errors import SchemaError
from sidecar.postgres.shipped import sql_directory
from sidecar.postgres.statements import read_statements

BASELINE = "0016"

_SQL = read_statements("sidecar.operations", "restored_schema.sql")
_INSTALLATION = read_statements("sidecar.operations", "installation.sql")
_TABLES_OF_WATCHES = ("breakages", "scans", "progress")


@dataclass(slots=True)
class RestoredSchema:
    """What was repaired: the missing row of `revision` (None: it was there), and leftovers of `watch_ids`."""

    revision: str | None = None
    watch_ids: list[int] = field(default_factory=list)


def repair_restored_schema(connection: Connection) -> RestoredSchema | None:
    """Records the revision if its row is missing, and drops what is left of watches without a row.

    In the caller's transaction. Returns None if nothing was missing. Raises SchemaError if the version of the tables
    cannot be determined; psycopg.Error if the role lacks a right, or a watched table stays locked.
    """
    schema = connection.execute(text(_SQL["schema_of_tables"])).scalar()
    if schema is None:
        _reject_partial_restore(connection)
        return None
    restored = RestoredSchema(
        revision=_record_revision(connection, schema), watch_ids=_drop_leftovers(connection, schema)
    )
    for table in (*_TABLES_OF_WATCHES, "failures" if schema == "sidecar_internal" else "dead_letters"):
        connection.execute(text(_SQL["delete_dangling"].format(schema=schema, table=table)))
    connection.execute(text(_SQL["raise_watch_ids"].format(schema=schema)))
    return restored if restored.revision is not None or restored.watch_ids else None


def _has_revision(connection: Connection) -> bool:
    if not connection.execute(text(_INSTALLATION["has_revision_table"])).scalar():
        return False
    return connection.execute(text(_INSTALLATION["revision"])).first() is not None


def _reject_partial_restore(connection: Connection) -> None:
    """Raises SchemaError for a schema `sidecar` with a revision, but without the tables."""
    if (
        connection.execute(text(_INSTALLATION["has_revision_table"])).scalar()
        and connection.execute(text(_INSTALLATION["revision"])).first()
    ):
        raise SchemaError(
            "the schema `sidecar` is there without the tables of `sidecar_internal` (a restore of one schema alone?)."
            "\nHINT: restore both, or drop schema sidecar cascade; then sidecar migrate, and watch again. Vectors stay "
            "where they are; each row is embedded once."
        )


def _record_revision(connection: Connection, schema: str) -> str | None:
    if (
        connection.execute(text(_INSTALLATION["has_revision_table"])).scalar()
        and connection.execute(text(_INSTALLATION["revision"])).first()
    ):
        return None
    revision = _recognise_revision(connection, schema)
    connection.execute(text(_SQL["create_revision_table"]))
    connection.execute(text(_SQL["record_revision"]), {"revision": revision})
    return revision


def _recognise_revision(connection: Connection, schema: str) -> str:
    """The revision of tables whose row is missing: as recorded by a function, or the baseline. Else SchemaError."""
    if connection.execute(text(_INSTALLATION["is_recorded"])).scalar():
        return str(connection.execute(text(_INSTALLATION["recorded"])).one().revision)
    if connection.execute(text(_SQL["is_baseline"])).scalar():
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
    """Drops queues and triggers of watches without a row. Returns the ids of those watches."""
    leftovers = (sql_directory() / "tables" / "leftovers.sql").read_text(encoding="utf-8")
    leftovers = leftovers.replace("sidecar_internal", schema)
    driver = connection.connection.dbapi_connection
    assert driver is not None
    cursor = driver.cursor()
    cursor.execute(leftovers)  # without parameters, so that % needs no escape
    found = cursor.fetchall()
    for _, statement in found:
        cursor.execute(statement)
    return sorted({watch_id for watch_id, _ in found})
