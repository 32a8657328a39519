"""`sidecar.verify` as its caller follows it: started, and read again until it is finished. Blocking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from pydantic import SecretStr

from sidecar.operations.operations import Warn, connect_to_schema, translated

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_START = """
    select w.id, w.relation::text, w.target
        from sidecar.need_watch($1::regclass, $2::text) w cross join lateral sidecar.verify(w.relation, w.target)
"""
_READ = """
    select s.rows_seen, s.bytes_seen, s.found, s.finished_at is not null as is_finished, c.n as rows, t.state,
           exists (select from sidecar.sidecars x where x.seen_at > clock_timestamp() - interval '30 s') as is_served
        from sidecar.watches w
        join sidecar.scans s on s.watch_id = w.id and s.purpose = 'verify'
        cross join lateral sidecar.count_rows(w.relation, false) c
        cross join lateral sidecar.state_of(w, 0) as t(state)
        where w.id = $1 and w.unwatched_at is null
"""


@dataclass(frozen=True, slots=True)
class Verification:
    """How far it is. `rows` may be an estimate, and is for the eye; `found` rows differed and were enqueued."""

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
    """Follows one verification of one watch."""

    def __init__(self, connection: Connection, table: str, target: str | None) -> None:
        """Starts it. Raises StatementRejected, DatabaseUnavailable."""
        self._connection = connection
        with translated():
            row = connection.execute(_START.encode(), (table, target)).fetchone()
        assert row is not None, "need_watch raises where there is none"
        self._watch_id, self.relation, self.target = row

    def read(self) -> Verification | None:
        """None: the watch was ended meanwhile. Raises DatabaseUnavailable."""
        with translated():
            row = self._connection.execute(_READ.encode(), (self._watch_id,)).fetchone()
        return None if row is None else Verification(self.relation, self.target, *row)


@contextmanager
def verifying(url: SecretStr, table: str, target: str | None, warn: Warn) -> Iterator[Verifier]:
    """Starts a verification; it goes on when the block ends. Raises DatabaseError."""
    with connect_to_schema(url, warn) as connection:
        yield Verifier(connection, table, target)
