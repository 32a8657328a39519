"""Logs a fault once when it begins and once when it is over, instead of at each attempt."""

from __future__ import annotations

import logging
import time

from sidecar.errors import DatabaseError, DatabaseUnavailable
from sidecar.postgres.remedies import find_connection_hint

QUIET_S = 60.0  # a fault that comes and goes is logged once in this time
# Classes of SQLSTATE that say more than a lost connection: read-only, authentication, no such database, resources.
_OWN_REASONS = ("25", "28", "3D", "53")
_AWAY = "away"


class TroubleLog:
    """Call `report` at each failure and `resolve` at each success. `what` begins the lines that are logged."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._since: float | None = None  # all times on the clock of time.monotonic
        self._kinds: set[str] = set()  # of the present fault
        self._logged: dict[str, float] = {}  # kind → time of its last line
        self._is_logged = False

    def report(self, error: DatabaseError) -> None:
        """Logs the error: at WARNING if its kind is new, else at DEBUG."""
        kind, now = _kind(error), time.monotonic()
        if self._since is None:
            self._since = now
        if kind in self._kinds or now - self._logged.get(kind, float("-inf")) < QUIET_S:
            self._logger.debug("%s, still: %s", self._what, error)
        else:
            self._logger.warning("%s", self._describe_beginning(_with_hint(error)))
            self._logged[kind] = now
            self._is_logged = True
        self._kinds.add(kind)

    def resolve(self) -> None:
        """Logs the end of the fault: at INFO if its beginning was logged, else at DEBUG."""
        if self._since is None:
            return
        level = logging.INFO if self._is_logged else logging.DEBUG
        self._logger.log(level, "%s", self._describe_end(time.monotonic() - self._since))
        self._since, self._is_logged = None, False
        self._kinds.clear()

    def _describe_beginning(self, reason: str) -> str:
        return f"{self._what}: {reason}"

    def _describe_end(self, seconds: float) -> str:
        return f"{self._what}: no longer, after {seconds:.1f} s"


def is_away(error: DatabaseError) -> bool:
    """Whether the database does not answer, rather than refuse: too many connections, say, or a wrong password."""
    return _kind(error) == _AWAY


def _kind(error: DatabaseError) -> str:
    """What identifies a fault across attempts: messages differ, naming ports or another way to lose a connection."""
    code = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None) or ""
    if isinstance(error, DatabaseUnavailable):
        return code if code.startswith(_OWN_REASONS) else _AWAY
    return f"{type(error).__name__} {code}"


def _with_hint(error: DatabaseError) -> str:
    """The message, with its hint; that of a lost connection only where it does not come back by itself."""
    hint = getattr(error, "hint", None)
    if isinstance(error, DatabaseUnavailable) and not is_away(error):
        hint = find_connection_hint(str(error))
    return f"{error}. HINT: {hint}" if hint else str(error)
