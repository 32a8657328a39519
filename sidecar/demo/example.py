"""The example table: emoji with their names and pictures, both watched."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg

from sidecar.demo.emoji import Emoji, read_emoji
from sidecar.errors import StatementRejected
from sidecar.postgres.statements import read_statements

TABLE = "emoji"
_EXPOSED = ["emoji", "name", "category", "keywords"]


def statement(name: str) -> bytes:
    """A statement of the demo, in psycopg's format."""
    return read_statements("sidecar.demo", "demo.sql")[name].encode()


def create_example(url: str, *, recreate: bool = False) -> bool:
    """Creates, fills and watches the table in one transaction. False if it exists: it belongs to the user by then.

    `recreate`: drops the table of an earlier run first, in the same transaction. Raises StatementRejected, and changes
    nothing, if another object depends on that table.
    """
    with psycopg.connect(url) as connection:
        connection.execute(statement("mark_example"))
        if recreate and connection.execute(statement("is_example")).fetchone() == (True,):
            _drop(connection)
        if connection.execute(statement("has_example")).fetchone() == (True,):
            return False
        connection.execute(statement("create_example"))
        connection.execute(statement("comment_example"))
        _copy(connection, read_emoji())
        for source, exposed in (("name", _EXPOSED), ("picture", [*_EXPOSED, "picture"])):
            connection.execute(statement("watch_example"), (source, f"{source}_embedding", exposed))
    return True


def _drop(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    try:
        connection.execute(statement("unwatch_example"))
        connection.execute(statement("drop_example"))
    except psycopg.Error as error:
        sqlstate, detail = error.sqlstate or "", error.diag.message_detail or ""
        hint = "Drop that first, or start without --fresh."
        raise StatementRejected(
            f"{error.diag.message_primary or error}: {detail}".rstrip(": "), sqlstate, hint
        ) from error


def _copy(connection: psycopg.Connection[tuple[object, ...]], rows: Iterable[Emoji]) -> None:
    with connection.cursor().copy(statement("copy_example")) as copy:
        for row in rows:
            copy.write_row((row.id, row.emoji, row.name, row.category, ", ".join(row.keywords), row.picture))
