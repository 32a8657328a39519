"""Logs that something does not work once, and once that it works again: not each try in between."""

from __future__ import annotations

import logging
import time

from sidecar.errors import DatabaseError, DatabaseUnavailable

QUIET_S = 60.0  # trouble that comes and goes all the time is logged once in this time
_OWN_REASONS = ("25", "28", "3D", "53")  # read-only, not admitted, no such database, full: not just away


class TroubleLog:
    """`report` is called as often as it fails, `over` as often as it works. `what` is the subject of the lines."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._since: float | None = None  # all times on the clock of time.monotonic
        self._kinds: set[str] = set()  # of the present trouble
        self._logged: dict[str, float] = {}  # kind → when it was logged last
        self._is_logged = False

    def report(self, error: DatabaseError) -> None:
        """At WARNING where this kind of trouble is new, else at DEBUG."""
        kind, now = _kind(error), time.monotonic()
        if self._since is None:
            self._since = now
        if kind in self._kinds or now - self._logged.get(kind, float("-inf")) < QUIET_S:
            self._logger.debug("%s, still: %s", self._what, error)
        else:
            self._logger.warning("%s: %s", self._what, _describe(error))
            self._logged[kind] = now
            self._is_logged = True
        self._kinds.add(kind)

    def over(self) -> None:
        """At INFO where the trouble was logged."""
        if self._since is None:
            return
        level = logging.INFO if self._is_logged else logging.DEBUG
        self._logger.log(level, "%s: no longer, after %.1f s", self._what, time.monotonic() - self._since)
        self._since, self._is_logged = None, False
        self._kinds.clear()


def _kind(error: DatabaseError) -> str:
    """What is the same at every try: messages name ports, and a connection may be lost in many words."""
    code = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None) or ""
    if isinstance(error, DatabaseUnavailable):
        return code if code.startswith(_OWN_REASONS) else "away"
    return f"{type(error).__name__} {code}"


def _describe(error: DatabaseError) -> str:
    hint = getattr(error, "hint", None)
    return f"{error}. {hint}" if hint else str(error)
