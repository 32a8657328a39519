"""Whether the database can be used, for all parts of the process: one state, logged at its beginning and its end."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from sidecar.errors import DatabaseError, DatabaseUnavailable
from sidecar.postgres.trouble_log import TroubleLog, is_away

logger = logging.getLogger(__name__)


class Outage(TroubleLog):
    """Call `report` at each DatabaseUnavailable and `resolve` at each success, from any part of the process."""

    def __init__(self) -> None:
        super().__init__(logger, "database gone")
        self.since: datetime | None = None
        self.was_tried = False

    def __str__(self) -> str:
        """`ok`, `not tried yet`, or `gone since 2026-11-29 09:12:30 UTC, trying again`."""
        if self.since is None:
            return "ok" if self.was_tried else "not tried yet"
        return f"gone since {self.since:%Y-%m-%d %H:%M:%S} UTC, trying again"

    def report(self, error: DatabaseError) -> None:
        self.was_tried = True
        if self.since is None:
            self.since = datetime.now(UTC)
        super().report(error)

    def resolve(self) -> None:
        self.was_tried, self.since = True, None
        super().resolve()

    def _describe_beginning(self, reason: str) -> str:
        return f"database {self}: {reason}"

    def _describe_end(self, seconds: float) -> str:
        return f"database back after {seconds:.1f} s"


class SessionTrouble:
    """Trouble with a session outside the pool: part of an outage if it cannot be opened again, else its own.

    A session is lost first where the database goes down, and alone where only it was ended.
    """

    def __init__(self, trouble: TroubleLog, outage: Outage) -> None:
        self._trouble = trouble
        self._outage = outage
        self._lost: DatabaseError | None = None

    def lost(self, error: DatabaseError) -> None:
        """The session ended, and is about to be opened again."""
        self._lost = error

    def refused(self, error: DatabaseError) -> None:
        """The session could not be opened."""
        self._lost = None
        if isinstance(error, DatabaseUnavailable) and (is_away(error) or self._outage.since is not None):
            self._outage.report(error)
        else:
            self._trouble.report(error)

    def opened(self) -> None:
        if self._lost is not None and self._outage.since is None:
            self._trouble.report(self._lost)
        self._lost = None
        self._trouble.resolve()
