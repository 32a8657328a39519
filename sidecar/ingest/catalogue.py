"""Which watches this sidecar works on, kept fresh."""

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

MAX_FAILURES = (
    3  # a watch whose statements meet a missing table or column this often in a row, freshly loaded, is broken
)


class Catalogue:
    """Loaded at start, on a notification, every few seconds, and when a statement meets a changed table."""

    def __init__(self, database: Database, identity: Identity) -> None:
        self._database = database
        self._identity = identity
        self._strikes: Counter[int] = Counter()  # by watch
        self._struck: dict[int, WatchChanged | StatementRejected] = {}  # watch → what it met since the last load
        self._loading = asyncio.Lock()
        self._said: dict[int, str] = {}  # watch → why it is left alone, as the log has it
        self.stale = True
        self.all: list[Watch] = []

    async def refresh(self) -> None:
        """Loads the watches again if something said that they changed. Raises DatabaseError."""
        if self.stale:
            async with self._loading:
                if self.stale:
                    await self._load()

    async def load(self) -> None:
        """Loads the watches again, because some time has passed: claims go on meanwhile. Raises DatabaseError."""
        async with self._loading:
            await self._load()

    async def _load(self) -> None:
        self.stale = False
        struck_before = dict(self._struck)  # one reported from here on may meet what this load does not see yet
        try:
            async with self._database.connection() as connection, connection.transaction():
                for change in await connection.fetch(statement("follow_changes")):
                    logger.info("%s", change[0])
                former, self.all = self.all, await load_watches(connection)
        except BaseException:
            self.stale = True
            raise
        self._struck = {watch_id: error for watch_id, error in self._struck.items() if watch_id not in struck_before}
        self._forgive_changed(former)
        for watch in self.all:
            self._explain(watch)
            if (
                watch.broken is None and watch.id in struck_before
            ):  # else the line that says why it is broken has it all
                logger.warning(
                    "watch %d on %s changed under its sidecar: %s", watch.id, watch.label, struck_before[watch.id]
                )

    def _forgive_changed(self, former: Sequence[Watch]) -> None:
        """Strikes count in a row: not across a change, however late the batches that began before it come back."""
        known = {watch.id: watch.identifiers for watch in former}
        same = {watch.id for watch in self.all if known.get(watch.id) == watch.identifiers}
        self._strikes = Counter({watch_id: n for watch_id, n in self._strikes.items() if watch_id in same})

    def workable(self) -> list[Watch]:
        """Those whose events this sidecar may claim."""
        return [w for w in self.ours() if not w.paused and "clear" not in w.scans]

    def ours(self) -> list[Watch]:
        """Those that this sidecar's model may write to."""
        identity = self._identity
        return [
            w
            for w in self.all
            if w.broken is None and w.accepts(identity.model_id, identity.fingerprint, identity.dimensions)
        ]

    async def pin(self, watch: Watch) -> bool:
        """Makes the watch's vector space this encoder's. False: it belongs to another; the watches are loaded again."""
        fingerprint = self._identity.fingerprint
        if watch.fingerprint is not None:
            return watch.fingerprint == fingerprint
        async with self._database.connection() as connection:
            if not await pin_fingerprint(connection, watch, self._identity.model_id, fingerprint):
                self.stale = True
                return False
        self.all = [replace(w, fingerprint=fingerprint) if w == watch else w for w in self.all]
        return True

    async def report_change(self, watch: Watch, error: WatchChanged | StatementRejected) -> None:
        """A statement met something renamed, dropped or forbidden: load again. A watch that is loaded just the same and
        meets it again, a few times in a row, is broken.
        """
        self.stale = True
        if watch not in self.all or watch.id in self._struck:
            return
        self._struck[watch.id] = error
        self._strikes[watch.id] += 1
        if self._strikes[watch.id] < MAX_FAILURES:
            return
        async with self._database.connection() as connection:
            await connection.execute(statement("mark_broken"), watch.id, str(error))
        self._said[watch.id] = f"is broken and left alone: {error}"  # the next load finds what is said here
        logger.error(
            "watch %d on %s is broken and left alone: %s. Call sidecar.watch again.", watch.id, watch.label, error
        )

    def mark_healthy(self, watch: Watch) -> None:
        """A statement on the watch worked."""
        self._strikes.pop(watch.id, None)

    def _explain(self, watch: Watch) -> None:
        identity = self._identity
        if watch.broken is not None:
            self._say_once(watch, f"is broken and left alone: {watch.broken}")
        elif not watch.accepts(identity.model_id, identity.fingerprint, identity.dimensions):
            wanted = watch.fingerprint or watch.model or "any model"
            self._say_once(
                watch,
                f"is left alone: it wants {watch.dimensions} dimensions of {wanted}, this sidecar makes "
                f"{identity.dimensions} of {identity.fingerprint} ({identity.model_id}). {_way_out(watch, identity)}",
            )
        else:
            self._said.pop(watch.id, None)

    def _say_once(self, watch: Watch, message: str) -> None:
        if self._said.get(watch.id) != message:
            self._said[watch.id] = message
            logger.warning("watch %d on %s %s", watch.id, watch.label, message)


def _way_out(watch: Watch, identity: Identity) -> str:
    if watch.dimensions != identity.dimensions:
        return f"A vector column keeps its dimensions: watch another target, with dimensions => {identity.dimensions}."
    return (
        "The same model has another fingerprint with other settings, and after some upgrades. To move the watch, and "
        f"embed all its rows again: select sidecar.reembed('{watch.identifiers.table}', '{watch.target_name}', "
        f"model => '{identity.fingerprint}')"
    )
