"""What a user says to schema `sidecar`: watch, pause, retry, status, failures, search and the like. Blocking.

The connection is the user's own: their rights, their search_path, which finds the table that they named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import psycopg
from psycopg.rows import dict_row
from pydantic import SecretStr

from sidecar.errors import DatabaseUnavailable, SchemaError, StatementRejected
from sidecar.operations.command_session import CommandCursor
from sidecar.operations.search import FoundRows, SearchableWatch, find_watch, run_search
from sidecar.postgres.address import read_address
from sidecar.postgres.shipped import describe_old_schema, head_revision
from sidecar.postgres.statements import read_statements
from sidecar.postgres.status import FailedFor, Failure, IndexBuild, WatchStatus
from sidecar.redaction import redact

Warn: TypeAlias = Callable[[str, str | None], None]
"""Takes a warning of Postgres's and its hint."""

_NOT_PERMITTED = "42501"
_UNKNOWN_TABLE = {"42P01", "42602", "3F000"}  # undefined_table, invalid_name, invalid_schema_name


def _statement(name: str) -> bytes:
    return read_statements("sidecar.operations", "operations.sql")[name].encode()


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """The arguments of sidecar.watch. None where the server is to choose."""

    table: str
    source: list[str]
    target: str | None = None
    kind: str | None = None
    companion: str | None = None
    index: str = "halfvec"
    model: str | None = None
    dimensions: int = 1152
    replace: bool = False
    expose: list[str] = field(default_factory=list)


class Operations:
    """An open connection to a migrated database. Every method raises DatabaseUnavailable or StatementRejected."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def watch(self, request: WatchRequest) -> WatchStatus:
        """Starts the watch, or finds it started, and returns how it stands."""
        r = request
        watch_id = self._value(
            "watch",
            (r.table, r.source, r.target, r.kind, r.companion, r.index, r.model, r.dimensions, r.replace, r.expose),
        )
        return next(watch for watch in self.status(r.table) if watch.watch_id == watch_id)

    def unwatch(self, table: str, target: str | None, *, drop_target: bool) -> tuple[str, str]:
        """Ends the watch; returns the names of its table and target. `drop_target` deletes its vectors too."""
        return self._named("unwatch", (table, target, drop_target))

    def retry(self, table: str, target: str | None, *, key: str | None, reason: str | None) -> int:
        """Enqueues failed rows again, those of a key (JSON) or a reason, or all; returns how many."""
        return int(self._value("retry", (table, target, key, reason)))

    def retry_all(self, table: str | None, *, reason: str | None) -> int:
        """The failed rows of all watches, or of all of a table; returns how many."""
        found = self.failures_by_reason(table, None)
        wanted = {(f.relation, f.target, f.reason) for f in found if reason in {None, f.reason}}
        return sum(self.retry(relation, target, key=None, reason=why) for relation, target, why in sorted(wanted))

    def set_paused(self, table: str | None, target: str | None, *, paused: bool) -> int:
        """One watch, all of a table, or all; returns how many it changed."""
        return int(self._value("set_paused", (table, target, paused)))

    def set_rate(self, table: str | None, target: str | None, rows_per_s: float | None) -> int:
        """Caps one watch, all of a table, or all; None lifts the cap. Returns how many it changed."""
        return int(self._value("set_rate", (table, target, rows_per_s)))

    def reembed(self, table: str, target: str | None, model: str | None) -> tuple[str, str]:
        """All rows again; with another `model` old vectors are cleared first. Returns the watch's table and target."""
        return self._named("reembed", (table, target, model))

    def status(self, table: str | None = None, *, exact: bool = False) -> list[WatchStatus]:
        """One entry per watch; of one table if it is named, which has to be watched then."""
        found = [WatchStatus(**row) for row in self._rows("status", (table, exact))]
        if table is not None and not found:
            self._value("name_of_watch", (table, None))  # raises: it is not watched
        return found

    def failures(self, table: str | None, target: str | None, limit: int) -> list[Failure]:
        """The newest first. A table that is named has to be watched."""
        found = [Failure(**row) for row in self._rows("failures", (table, target, limit))]
        if table is not None and not found:
            self.status(table) if target is None else self._value("name_of_watch", (table, target))
        return found

    def failures_by_reason(self, table: str | None, target: str | None) -> list[FailedFor]:
        """The most frequent reason first. A table that is named has to be watched."""
        found = [FailedFor(**row) for row in self._rows("failures_by_reason", (table, target))]
        if table is not None and not found:
            self.failures(table, target, 1)
        return found

    def index_builds(self) -> dict[int, IndexBuild]:
        """Builds under way that this role may see, by the number of their watch."""
        return {build.watch_id: build for build in (IndexBuild(**row) for row in self._rows("index_builds", ()))}

    def targets(self, table: str) -> list[tuple[str, str]]:
        """Target and kind of every watch of a table."""
        return [(row["target"], row["kind"]) for row in self._rows("targets", (table,))]

    def watch_to_search(self, table: str, target: str | None) -> SearchableWatch:
        """What a search has to know of a watch."""
        with translated():
            return find_watch(self._connection, table, target)

    def search(self, watch: SearchableWatch, vector: list[float], limit: int) -> FoundRows:
        """The `limit` rows nearest to `vector`."""
        with translated():
            return run_search(self._connection, watch.relation, watch.target, vector, limit)

    def _named(self, name: str, parameters: tuple[object, ...]) -> tuple[str, str]:
        """Runs a statement on one watch; returns the names that its table and target had before."""
        with translated():
            row = self._connection.execute(_statement("name_of_watch"), parameters[:2]).fetchone()
            self._connection.execute(_statement(name), parameters)
        assert row is not None
        return row[0], row[1]

    def _rows(self, name: str, parameters: tuple[object, ...]) -> list[dict[str, Any]]:
        with translated(), CommandCursor(self._connection, row_factory=dict_row) as cursor:
            return cursor.execute(_statement(name), parameters).fetchall()

    def _value(self, name: str, parameters: tuple[object, ...]) -> Any:
        with translated():
            row = self._connection.execute(_statement(name), parameters).fetchone()
        assert row is not None
        return row[0]


@contextmanager
def open_operations(url: SecretStr, warn: Warn) -> Iterator[Operations]:
    """`warn` hears the warnings of the server. Raises DatabaseUnavailable, SchemaError."""
    with connect_to_schema(url, warn) as connection:
        yield Operations(connection)


@contextmanager
def connect_to_schema(url: SecretStr, warn: Warn) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """As connect_as_user, to a schema `sidecar` that is at least as new as this code. Raises SchemaError, too."""
    for note in read_address(url.get_secret_value()).notes:
        warn(f"the database's address: {note}", None)
    with connect_as_user(url) as connection:
        connection.add_notice_handler(
            lambda notice: (
                warn(notice.message_primary or "", notice.message_hint)
                if notice.severity_nonlocalized == "WARNING"
                else None
            )
        )
        with translated():
            row = connection.execute(_statement("is_migrated")).fetchone()
            assert row is not None
            if not row[1]:
                raise SchemaError(
                    f'database "{row[0]}" has no schema `sidecar`, or an older one.\nHINT: sidecar migrate'
                )
            _check_revision(connection)
        yield connection


def _check_revision(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    try:
        row = connection.execute(_statement("revision")).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return  # a reader, who is not shown the revision
    except psycopg.errors.UndefinedTable:
        row = None  # left out of a restore
    revision = None if row is None else row[0]
    if revision is None or revision < head_revision():
        raise SchemaError(f"{describe_old_schema(revision)}.\nHINT: sidecar migrate")


@contextmanager
def connect_as_user(url: SecretStr) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection in autocommit mode, with parameters written $1, $2 …

    Raises DatabaseUnavailable, and ConfigurationError where the address cannot be read.
    """
    address = url.get_secret_value()
    try:
        connection = psycopg.connect(
            read_address(address).conninfo(),
            autocommit=True,
            client_encoding="utf8",  # of a server with SQL_ASCII, psycopg would give text as bytes
            application_name="sidecar-cli",
            cursor_factory=CommandCursor,
            prepare_threshold=None,  # a pooler in transaction mode would not know them
        )
    except psycopg.Error as error:
        # libpq tells of every address it tried, on lines of their own; the first says enough.
        reason = str(error).removeprefix("connection failed: ").partition("\n")[0]
        raise DatabaseUnavailable(
            f"cannot connect to {redact(address)}: {redact(reason)}\n"
            "HINT: Does the server run there? Are user and password right? The URL is DATABASE_URL or --database-url."
        ) from error
    with connection:
        yield connection


@contextmanager
def translated() -> Iterator[None]:
    """The edge to Postgres: raises DatabaseUnavailable or StatementRejected."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
            raise DatabaseUnavailable(f"the connection was lost: {redact(str(error)).strip()}") from error
        hint = error.diag.message_hint
        if hint is None and error.sqlstate in _UNKNOWN_TABLE:
            hint = "Name it as schema.table; a name with capitals or blanks needs double quotes inside the shell's."
        if hint is None and error.sqlstate == _NOT_PERMITTED:
            hint = (
                "Connect as a role that may, as the table's owner or the installer: docs/roles.md has who may do what."
            )
        raise StatementRejected(error.diag.message_primary or str(error), error.sqlstate, hint) from error
