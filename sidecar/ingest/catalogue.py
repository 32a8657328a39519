"""The watches of the database, and which of them this sidecar works on.

    FOREIGN     wants another model, fingerprint or number of dimensions: skipped, with one line in the log
    WRITABLE    may hold this encoder's vectors. The first batch pins the fingerprint of a watch that has none.
                CLAIMABLE, unless it is paused or its old vectors are being cleared
    SUSPECT     its statements met something renamed, dropped or forbidden. All watches are loaded again, and if the
                watch has changed, it starts afresh. If it meets the same as it was before, MAX_FAILURES times in a row,
                it is
    BROKEN      recorded in the database, and skipped by all sidecars until `sidecar.watch` is called again

Watches are loaded at the start, after a notification, every few seconds, and after a statement met a changed table.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sidecar.errors import StatementRejected, WatchChanged
from sidecar.postgres.database import Database
from sidecar.postgres.heartbeat import Identity
from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch, load_watches, pin_fingerprint

logger = logging.getLogger(__name__)

MAX_FAILURES = 3


class Catalogue:
    """All active watches, and the failures of their statements. `stale = True` makes the next refresh load them."""

    def __init__(self, database: Database, identity: Identity) -> None:
        self._database = database
        self._identity = identity
        self._failures: Counter[int] = Counter()  # in a row, by watch; at most one per load
        self._errors: dict[int, WatchChanged | StatementRejected] = {}  # since the last load, by watch
        self._loading = asyncio.Lock()
        self._logged: dict[int, str] = {}  # why a watch is skipped, by watch
        self.stale = True
        self.all: list[Watch] = []

    async def refresh(self) -> None:
        """Loads the watches if they are stale. Raises DatabaseError."""
        if self.stale:
            async with self._loading:
                if self.stale:
                    await self._load()

    async def load(self) -> None:
        """Loads the watches; claims go on meanwhile. Raises DatabaseError."""
        async with self._loading:
            await self._load()

    async def _load(self) -> None:
        self.stale = False
        earlier = dict(self._errors)  # an error reported during this load may concern what the load does not see yet
        try:
            async with self._database.connection() as connection, connection.transaction():
                for change in await connection.fetch(statement("follow_changes")):
                    logger.info("%s", change[0])
                former, self.all = self.all, await load_watches(connection)
        except BaseException:
            self.stale = True
            raise
        self._errors = {watch_id: error for watch_id, error in self._errors.items() if watch_id not in earlier}
        self._reset_failures_of_changed(former)
        for watch in self.all:
            self._log_if_left_alone(watch)
            # A broken watch has just been logged, with its reason.
            if watch.broken is None and watch.id in earlier:
                logger.warning(
                    "watch %d on %s changed under its sidecar: %s", watch.id, watch.quoted_name, earlier[watch.id]
                )

    def _reset_failures_of_changed(self, former: Sequence[Watch]) -> None:
        """Keeps only the failures of watches that are as they were: a changed watch starts afresh."""
        known = {watch.id: watch.identifiers for watch in former}
        same = {watch.id for watch in self.all if known.get(watch.id) == watch.identifiers}
        self._failures = Counter({watch_id: n for watch_id, n in self._failures.items() if watch_id in same})

    def claimable(self) -> list[Watch]:
        """The watches whose events this sidecar may claim."""
        return [w for w in self.writable() if not w.paused and "clear" not in w.scans]

    def writable(self) -> list[Watch]:
        """The watches that may hold vectors of this sidecar's model."""
        identity = self._identity
        return [
            w
            for w in self.all
            if w.broken is None and w.accepts(identity.model_id, identity.fingerprint, identity.dimensions)
        ]

    async def pin_fingerprint(self, watch: Watch) -> bool:
        """Makes this encoder's fingerprint the watch's, unless it has one. False: it has another encoder's."""
        fingerprint = self._identity.fingerprint
        if watch.fingerprint is not None:
            return watch.fingerprint == fingerprint
        async with self._database.connection() as connection:
            if not await pin_fingerprint(connection, watch, self._identity.model_id, fingerprint):
                self.stale = True
                return False
        self.all = [replace(w, fingerprint=fingerprint) if w == watch else w for w in self.all]
        return True

    async def report_failure(self, watch: Watch, error: WatchChanged | StatementRejected) -> None:
        """Reports that a statement met something renamed, dropped or forbidden. Has the watches loaded again.

        Marks the watch as broken after MAX_FAILURES in a row. Raises DatabaseError.
        """
        self.stale = True
        if watch not in self.all or watch.id in self._errors:
            return
        self._errors[watch.id] = error
        self._failures[watch.id] += 1
        if self._failures[watch.id] < MAX_FAILURES:
            return
        async with self._database.connection() as connection:
            await connection.execute(statement("mark_broken"), watch.id, str(error))
        self._logged[watch.id] = f"is broken and skipped: {error}"  # or the next load would log it again
        logger.error(
            "watch %d on %s is broken and skipped: %s. Call sidecar.watch again.", watch.id, watch.quoted_name, error
        )

    def mark_healthy(self, watch: Watch) -> None:
        """Resets the failures of the watch, after a statement on it succeeded."""
        self._failures.pop(watch.id, None)

    def _log_if_left_alone(self, watch: Watch) -> None:
        identity = self._identity
        if watch.broken is not None:
            self._log_once(watch, f"is broken and skipped: {watch.broken}")
        elif not watch.accepts(identity.model_id, identity.fingerprint, identity.dimensions):
            wanted = watch.fingerprint or watch.model or "any model"
            self._log_once(
                watch,
                f"is skipped: it needs {watch.dimensions} dimensions of {wanted}, this sidecar makes "
                f"{identity.dimensions} of {identity.fingerprint} ({identity.model_id}). {_advice(watch, identity)}",
            )
        else:
            self._logged.pop(watch.id, None)

    def _log_once(self, watch: Watch, message: str) -> None:
        if self._logged.get(watch.id) != message:
            self._logged[watch.id] = message
            logger.warning("watch %d on %s %s", watch.id, watch.quoted_name, message)


def _advice(watch: Watch, identity: Identity) -> str:
    if watch.dimensions != identity.dimensions:
        return f"A vector column keeps its dimensions: watch another target, with dimensions => {identity.dimensions}."
    return (
        "The same model has another fingerprint with other settings, and after some upgrades. To move the watch, and "
        f"embed all its rows again: select sidecar.reembed('{watch.identifiers.table}', '{watch.target_name}', "
        f"model => '{identity.fingerprint}')"
    )
