"""Logs, at the start and after each change of the keys, which of their tables and filters fit no watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from sidecar.api_keys.key import ApiKey
from sidecar.errors import DatabaseError, StatementRejected, WatchChanged
from sidecar.http.key_ring import KeyRing
from sidecar.http.watches.grant import FilterNotApplicable, Grant, is_watch_of, name_of_key
from sidecar.postgres.database import Database
from sidecar.postgres.row_vectors import check_forced_filter
from sidecar.postgres.search import SearchDenied, SearchedWatch, find_watches

logger = logging.getLogger(__name__)

_INTERVAL_S = 1.0
_TIMEOUT_S = 10.0


class KeyCheck:
    """Checks the keys that are bound to tables or rows against the watches of the database, and logs what is wrong."""

    def __init__(self, keys: KeyRing, database: Database) -> None:
        self._keys = keys
        self._database = database

    async def run(self) -> None:
        """Checks each version of the keys once, as soon as the database can be read, until cancelled."""
        checked: tuple[ApiKey, ...] = ()
        while True:
            keys = self._keys.keys
            if keys is not checked:
                try:
                    for complaint in [each async for each in self._complaints(keys)]:
                        logger.warning("%s", complaint)
                    checked = keys
                except DatabaseError as error:
                    logger.debug("The keys are checked later: %s", error)
            await asyncio.sleep(_INTERVAL_S)

    async def _complaints(self, keys: tuple[ApiKey, ...]) -> AsyncIterator[str]:
        bound = [key for key in keys if key.tables is not None or key.filter is not None]
        watches = await find_watches(self._database) if bound else []
        for key in bound:
            for table in key.tables or ():
                if not any(is_watch_of(table, watch) for watch in watches):
                    yield (
                        f"{name_of_key(key)} is bound to {table}, which is not watched: until it is, searches of it "
                        "get 403."
                    )
            grant = Grant(key)
            for watch in grant.permitted(watches):
                complaint = await self._misfit(key, grant, watch)
                if complaint is not None:
                    yield complaint

    async def _misfit(self, key: ApiKey, grant: Grant, watch: SearchedWatch) -> str | None:
        """Why the key cannot search the watch with the filter that it forces on it; None if it can."""
        if watch.forced is None:
            return None
        try:
            grant.check_filter(watch)
            with grant.explaining(watch):
                await check_forced_filter(self._database, watch, _TIMEOUT_S)
        except FilterNotApplicable as misfit:
            return misfit.complaint
        except (SearchDenied, WatchChanged, StatementRejected) as error:  # one table's trouble; others are checked
            return f"{name_of_key(key)} cannot search {watch.table_name}.{watch.target}: {error}"
        return None
