"""Starts `sidecar.verify` and reads its progress. Blocking."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.operations.session import Connection, translate_psycopg_errors
from sidecar.postgres.statements import read_statements

_SQL = read_statements("sidecar.operations", "verification.sql")


@dataclass(frozen=True, slots=True)
class Verification:
    """The progress of a verification. `rows` may be an estimate; `found` rows differed and were enqueued."""

    relation: str
    target: str
    rows_seen: int
    bytes_seen: int
    found: int
    is_finished: bool
    rows: int
    state: str
    is_served: bool


class Verifier:
    """One verification of one watch."""

    def __init__(self, connection: Connection, table: str, target: str | None) -> None:
        """Starts the verification. Raises StatementRejected, DatabaseUnavailable."""
        self._connection = connection
        with translate_psycopg_errors():
            row = connection.execute(_SQL["start"].encode(), (table, target)).fetchone()
        assert row is not None, "get_watch raises where there is none"
        self._watch_id, self.relation, self.target = row

    def read(self) -> Verification | None:
        """The progress so far; None if the watch was ended meanwhile. Raises DatabaseUnavailable."""
        with translate_psycopg_errors():
            row = self._connection.execute(_SQL["read"].encode(), (self._watch_id,)).fetchone()
        return None if row is None else Verification(self.relation, self.target, *row)
