"""Where /search and /status read: the primary, or a standby that keeps up with it (SEARCH_DATABASE_URL).

The standby is compared with the primary once a second: the primary's write-ahead log has a position, and the standby
has replayed up to one. Its lag is the age of the newest position of the primary's that it has reached, on this
process's clock: clocks of servers play no part, and a standby that has lost its connection falls behind as it should.

    state             reads go to     when
    not tried yet     the primary     at the start
    ok                the standby     its lag is at most SEARCH_MAX_LAG_S
    behind            the primary     its lag is more
    promoted          the primary     it is no standby any more, and not the server that DATABASE_URL leads to
    foreign           the primary     it is another database than DATABASE_URL leads to, or another cluster's
    gone              the primary     it does not answer

While the primary does not answer, a standby that does is read, whatever its lag: nothing newer can be had.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from sidecar.errors import Contention, DatabaseError, DatabaseUnavailable
from sidecar.postgres.address import read_address
from sidecar.postgres.database import Database
from sidecar.postgres.statements import statement
from sidecar.postgres.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

INTERVAL_S = 1.0
_CHECK_TIMEOUT_S = 3.0
_MAX_POSITIONS = 3600
# Conflicts of a query with what the standby replays: a snapshot that is too old, a lock, a pinned page.
_RECOVERY_CONFLICTS = {"40001", "40P01"}


class ReplicaBehind(DatabaseError):
    """The standby's lag is above SEARCH_MAX_LAG_S, or it is no standby of the primary any more."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a server is in the write-ahead log. `age_s`: of the last transaction that a standby has replayed.

    `database`: the cluster's identifier and the name of the database.
    """

    database: str
    server: str  # the time of its start, by which two addresses are seen to lead to one server
    is_standby: bool
    lsn: int
    age_s: float


class Progress:
    """Positions of the primary with the times at which it was seen there, from which a standby's lag follows."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, float]] = deque(maxlen=_MAX_POSITIONS)
        self._server: str | None = None

    def record(self, primary: Position, at: float) -> None:
        if primary.server != self._server:
            self._seen.clear()
            self._server = primary.server
        self._seen.append((primary.lsn, at))

    def lag_s(self, standby: Position, now: float) -> float:
        """0 if the standby has reached the newest position."""
        if not self._seen or self._seen[-1][0] <= standby.lsn:
            return 0.0
        while len(self._seen) > 1 and self._seen[1][0] <= standby.lsn:
            self._seen.popleft()
        lsn, at = self._seen[0]
        return now - at if lsn <= standby.lsn else max(now - at, standby.age_s)


class Reads:
    """Runs what only reads, on the standby where there is one to be trusted, else on the primary.

    `follow` has to run; until it has compared the two, the primary is read. `str` is the state, as /status has it.
    """

    def __init__(self, primary: Database, standby: Database | None = None, max_lag_s: float = 0.0) -> None:
        self._primary = primary
        self._standby = standby
        self._max_lag_s = max_lag_s
        self._trouble = TroubleLog(logger, "searches and status read the primary, not SEARCH_DATABASE_URL")
        self._progress = Progress()
        self._state = "none" if standby is None else "not tried yet"
        self._answers = False  # the standby, at the last look
        self._database: str | None = None  # the primary's
        self.lag_s: float | None = None
        self.uses_standby = False

    def __str__(self) -> str:
        return self._state

    async def read(self, query: Callable[[Database], Awaitable[Answer]]) -> tuple[Answer, float | None]:
        """The answer, and the lag of the standby that gave it: None if it was the primary. Raises DatabaseError.

        A query that is cancelled by what the standby replays is repeated there once. Whichever server is not there
        leaves the query to the other.
        """
        error: DatabaseError | None = None
        for database in self._choose():
            try:
                return await query(database), self.lag_s if database is self._standby else None
            except DatabaseUnavailable as unavailable:
                error = error or unavailable
                if database is self._standby:
                    self._lost(unavailable)
            except Contention as conflict:
                if database is self._primary or not _is_recovery_conflict(conflict):
                    raise
                error = error or conflict
        assert error is not None
        raise error

    def _choose(self) -> Iterator[Database]:
        standby = self._standby
        if standby is not None and self.uses_standby:
            yield standby
            if self.uses_standby:  # it was a conflict
                yield standby
            yield self._primary
        else:
            yield self._primary
            if standby is not None and self._answers:
                yield standby

    async def follow(self) -> None:
        """Compares the two until cancelled."""
        while self._standby is not None:
            primary, standby = await asyncio.gather(_position(self._primary), _position(self._standby))
            self.compare(primary, standby, time.monotonic())
            await asyncio.sleep(INTERVAL_S)

    def compare(self, primary: Position | DatabaseError, standby: Position | DatabaseError, now: float) -> None:
        """Chooses where to read from, given where each of the servers is, or why it does not say."""
        if isinstance(standby, DatabaseError):
            self._lost(standby)
            return
        if not isinstance(primary, DatabaseError):
            self._database = primary.database
        self._answers = standby.database == (self._database or standby.database)
        if not self._answers:
            self._leave("foreign: not the database of DATABASE_URL, or of another cluster", None)
            return
        if isinstance(primary, DatabaseError):
            self._use(f"ok: DATABASE_URL does not answer, {_kind(standby)} does", self.lag_s or 0.0)
            return
        self._progress.record(primary, now)
        if standby.server == primary.server:
            self._use("ok: leads to the same server as DATABASE_URL", 0.0)
        elif not standby.is_standby:
            self._leave("promoted: no standby of DATABASE_URL's server any more", None)
        else:
            lag_s = self._progress.lag_s(standby, now)
            if lag_s > self._max_lag_s:
                self._leave(f"{lag_s:.1f} s behind, more than SEARCH_MAX_LAG_S ({self._max_lag_s:g})", lag_s)
            else:
                self._use(f"ok: {lag_s:.1f} s behind", lag_s)

    def _use(self, state: str, lag_s: float) -> None:
        self._state, self.lag_s, self.uses_standby = state, lag_s, True
        self._trouble.resolve()

    def _leave(self, state: str, lag_s: float | None) -> None:
        self._state, self.lag_s, self.uses_standby = f"{state}: the primary is read", lag_s, False
        self._trouble.report(ReplicaBehind(state))

    def _lost(self, error: DatabaseError) -> None:
        self._state, self.lag_s, self.uses_standby = "gone, trying again: the primary is read", None, False
        self._answers = False
        self._trouble.report(error)


def standby_url(url: SecretStr) -> SecretStr:
    """The address, in which several hosts mean the first that is a standby: without one, the primary is read anyway."""
    address = read_address(url.get_secret_value())
    wanted = address.options.get("target_session_attrs") or "any"
    if len(address.hosts) == 1 or wanted not in {"any", "prefer-standby"}:
        return url
    return SecretStr(make_conninfo("", **{**address.given, "target_session_attrs": "standby"}))


async def _position(database: Database) -> Position | DatabaseError:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S), database.connection() as connection:
            record = await connection.fetchrow(statement("wal_position"))
    except DatabaseError as error:
        return error
    except TimeoutError:
        return DatabaseUnavailable(f"no answer within {_CHECK_TIMEOUT_S:g} s")
    assert record is not None
    return Position(record["database"], record["server"], record["is_standby"], record["lsn"], record["age_s"])


def _kind(position: Position) -> str:
    return "the standby" if position.is_standby else "the server that was promoted"


def _is_recovery_conflict(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, "sqlstate", None) in _RECOVERY_CONFLICTS:
            return True
        error = error.__cause__
    return False
