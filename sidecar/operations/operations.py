"""The commands of schema `sidecar` as methods: watch, pause, retry, status, failures, search, uninstall and the like.

They run on a user's own connection, with their rights and their search_path, by which table names are looked up. Every
method blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import dict_row
from pydantic import SecretStr

from sidecar.operations.meant_table import naming_similar_tables
from sidecar.operations.rights import Right
from sidecar.operations.search import FoundRows, SearchableWatch, find_watch, run_search
from sidecar.operations.session import (
    CommandCursor,
    Connection,
    Warn,
    connect_to_schema,
    translate_psycopg_errors,
)
from sidecar.operations.verification import Verifier
from sidecar.postgres.statements import read_statements
from sidecar.postgres.status import Failure, FailuresByReason, IndexBuild, MisreadText, WatchStatus

_SQL = read_statements("sidecar.operations", "operations.sql")
_SAMPLED_ROWS = 500


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """The arguments of sidecar.watch. None leaves the choice to the server."""

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
    storage: str | None = None


@dataclass(frozen=True, slots=True)
class Remains:
    """A thing in a user's schema that outlives a watch, such as a column, and the statement that removes it."""

    what: str
    statement: str


@dataclass(frozen=True, slots=True)
class EndedWatch:
    """A watch that `unwatch` has ended, with all that stays of it, in an order in which it can be removed."""

    relation: str
    target: str
    remains: list[Remains]


@dataclass(frozen=True, slots=True)
class RecallOf:
    """What an index finds with one value of its setting, over `queries`: shares from 0 to 1, median times.

    `setting` is hnsw.ef_search or ivfflat.probes; None for a method without such a setting, whose `ef` is 0.
    """

    ef: int
    recall: float
    lowest: float
    queries: int
    index_ms: float
    exact_ms: float
    setting: str | None


class Operations:
    """An open connection to a migrated database. Every method raises DatabaseUnavailable or StatementRejected."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def database_name(self) -> str:
        return self._connection.info.dbname

    def watch(self, request: WatchRequest) -> WatchStatus:
        """Starts the watch unless it exists, and returns its status."""
        r = request
        watch_id = self._value(
            "watch",
            (
                *(
                    r.table,
                    r.source,
                    r.target,
                    r.kind,
                    r.companion,
                    r.index,
                    r.model,
                    r.dimensions,
                    r.replace,
                    r.expose,
                ),
                r.storage,
            ),
        )
        return next(watch for watch in self.status(r.table) if watch.watch_id == watch_id)

    def unwatch(self, table: str, target: str | None, *, drop_target: bool) -> EndedWatch:
        """Ends the watch. `drop_target` deletes its vectors too, also those of a watch that has ended."""
        [watch] = self._rows("watch_to_end", (table, target, drop_target))
        self._value("unwatch", (table, watch["target"], drop_target))
        remains = [Remains(**row) for row in self._rows("remains", (watch["watch"],))]
        return EndedWatch(watch["relation"], watch["target"], remains)

    def retry(self, table: str, target: str | None, *, key: str | None, reason: str | None) -> int:
        """Enqueues failed rows again: of a key (JSON), of a reason, or all. Returns how many."""
        return int(self._value("retry", (table, target, key, reason)))

    def retry_all(self, table: str | None, *, reason: str | None) -> int:
        """Enqueues the failed rows of all watches, or of all watches of a table, again. Returns how many."""
        found = self.failures_by_reason(table, None)
        wanted = {(f.relation, f.target, f.reason) for f in found if reason in {None, f.reason}}
        return sum(self.retry(relation, target, key=None, reason=why) for relation, target, why in sorted(wanted))

    def set_paused(self, table: str | None, target: str | None, *, paused: bool) -> int:
        """Pauses or resumes one watch, all of a table, or all. Returns how many it changed."""
        return int(self._value("set_paused", (table, target, paused)))

    def set_rate(self, table: str | None, target: str | None, rows_per_s: float | None) -> int:
        """Caps the rate of one watch, all of a table, or all; None lifts the cap. Returns how many it changed."""
        return int(self._value("set_rate", (table, target, rows_per_s)))

    def reembed(self, table: str, target: str | None, model: str | None) -> tuple[str, str]:
        """Embeds all rows again; another `model` has old vectors cleared first. Returns table and target."""
        return self._run_on_watch("reembed", (table, target, model))

    def status(self, table: str | None = None, target: str | None = None, *, exact: bool = False) -> list[WatchStatus]:
        """The status of each watch, of each watch of a table, or of one; StatementRejected if that is not watched."""
        self._check_meant(table, target)
        found = [WatchStatus(**row) for row in self._rows("status", (table, exact))]
        return [watch for watch in found if target in {None, watch.target}]

    def failures(self, table: str | None, target: str | None, limit: int) -> list[Failure]:
        """The newest failures first; StatementRejected if a named table is not watched."""
        self._check_meant(table, target)
        return [Failure(**row) for row in self._rows("failures", (table, target, limit))]

    def failures_by_reason(self, table: str | None, target: str | None) -> list[FailuresByReason]:
        """The most frequent reason first; StatementRejected if a named table is not watched."""
        self._check_meant(table, target)
        return [FailuresByReason(**row) for row in self._rows("failures_by_reason", (table, target))]

    def sample_sizes(self, watch_id: int) -> list[int | None]:
        """Bytes of the sources of some rows of a watch, None where there is nothing to embed."""
        return [row["bytes"] for row in self._rows("sample_sizes", (watch_id, _SAMPLED_ROWS))]

    def truncated_texts(self, table: str, target: str | None, limit: int) -> list[MisreadText]:
        """Rows whose text is longer than the model reads, in the order of the key."""
        return [MisreadText(**row) for row in self._rows("truncated_texts", (table, target, limit))]

    def unreadable_texts(self, table: str, target: str | None, limit: int) -> list[MisreadText]:
        """Rows with a text of which the tokenizer knows hardly a word, in the order of the key."""
        return [MisreadText(**row) for row in self._rows("unreadable_texts", (table, target, limit))]

    def index_builds(self) -> dict[int, IndexBuild]:
        """Running index builds that this role may see, by the id of their watch."""
        return {build.watch_id: build for build in (IndexBuild(**row) for row in self._rows("index_builds", ()))}

    def targets(self, table: str) -> list[tuple[str, str]]:
        """Target and kind of every watch of a table."""
        return [(row["target"], row["kind"]) for row in self._rows("targets", (table,))]

    def watch_to_search(self, table: str, target: str | None) -> SearchableWatch:
        """The watch that a search of this table runs on."""
        with naming_similar_tables(self._connection, table), translate_psycopg_errors():
            return find_watch(self._connection, table, target)

    def search(self, watch: SearchableWatch, vector: list[float], limit: int) -> FoundRows:
        """The `limit` rows nearest to `vector`."""
        with translate_psycopg_errors():
            return run_search(self._connection, watch.relation, watch.target, vector, limit)

    def recall(
        self, table: str, target: str | None, k: int, sample: int, values: list[int] | None, max_s: float
    ) -> list[RecallOf]:
        """How much of exact searches the index finds, by `values` of its setting. None: by the usual and others."""
        with naming_similar_tables(self._connection, table):
            parameters = (table, target, k, sample, values, max_s)
            return [RecallOf(**row) for row in self._rows("recall", parameters)]

    def verify(self, table: str, target: str | None) -> Verifier:
        """Starts a verification of all rows, which sidecars continue whether or not this process follows it."""
        with naming_similar_tables(self._connection, table):
            return Verifier(self._connection, table, target)

    def remains(self) -> list[Remains]:
        """All that `uninstall` leaves, in an order in which it can be removed."""
        return [Remains(**row) for row in self._rows("remains_of_all", ())]

    def uninstall(self, *, force: bool) -> None:
        """Drops schema `sidecar` and its triggers in one transaction; `force`: even while sidecars are running."""
        self._value("uninstall", (force,))

    def _check_meant(self, table: str | None, target: str | None) -> None:
        """Raises StatementRejected if table and target mean no watch."""
        self._value("check_meant", (table, target))

    def _run_on_watch(self, name: str, parameters: tuple[object, ...]) -> tuple[str, str]:
        """Runs the statement `name` on one watch; returns the watch's table and target, read before the statement."""
        with naming_similar_tables(self._connection, parameters[0]), translate_psycopg_errors():
            row = self._connection.execute(_SQL["name_of_watch"].encode(), parameters[:2]).fetchone()
            self._connection.execute(_SQL[name].encode(), parameters)
        assert row is not None
        return row[0], row[1]

    def _rows(self, name: str, parameters: tuple[object, ...]) -> list[dict[str, Any]]:
        with (
            naming_similar_tables(self._connection, parameters[0] if parameters else None),
            translate_psycopg_errors(),
            CommandCursor(self._connection, row_factory=dict_row) as cursor,
        ):
            return cursor.execute(_SQL[name].encode(), parameters).fetchall()

    def _value(self, name: str, parameters: tuple[object, ...]) -> Any:
        with (
            naming_similar_tables(self._connection, parameters[0] if parameters else None),
            translate_psycopg_errors(),
        ):
            row = self._connection.execute(_SQL[name].encode(), parameters).fetchone()
        assert row is not None
        return row[0]


@contextmanager
def open_operations(
    url: SecretStr, warn: Warn, right: Right = Right.READER, table: str | None = None
) -> Iterator[Operations]:
    """Connects to a migrated database. `warn` gets the server's warnings. Raises DatabaseUnavailable, SchemaError."""
    with connect_to_schema(url, warn, right, table) as connection:
        yield Operations(connection)
