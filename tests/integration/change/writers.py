"""Users who write to a watched table during a migration."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.encoders import HashEncoder
from tests.integration.ingest.composition import DIMENSIONS
from tests.integration.ingest.items import insert_titles
from tests.integration.ingest.watched_table import Connection, WatchedTable, run, user, value
from tests.waiting import wait_until_async


class Writers:
    """Users who insert, update and delete until `stop` is called. None of their statements may fail."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._done = asyncio.Event()
        self.writes: Counter[int] = Counter()

    async def write(self, number: int) -> None:
        async with user(self._url) as connection:
            while not self._done.is_set():
                i = self.writes[number]
                first = 100_000 * (number + 1) + 3 * i
                await insert_titles(connection, first, first + 2)
                await run(connection, "update items set title = title || ' again' where id = %s", first)
                await run(connection, "delete from items where id = %s", first + 1)
                await run(connection, "update items set price = price + 1 where id = %s", first + 2)
                self.writes[number] += 1

    async def until_each_wrote(self, more: int) -> None:
        """Waits until each writer has completed `more` rounds from now."""
        before = self.writes.copy()

        async def have() -> bool:
            return all(self.writes[number] >= before[number] + more for number in range(2))

        await wait_until_async(have, "the writers to go on", 20)

    def stop(self) -> None:
        self._done.set()


async def some_rows_are_embedded(db: Connection, at_least: int) -> None:
    """Waits for `at_least` vectors in `items`."""

    async def are() -> bool:
        return bool(await value(db, "select count(embedding) >= %s from items", at_least))

    await wait_until_async(are, "some vectors", 30)


async def check_all_is_right(db: Connection, table: WatchedTable) -> None:
    """Waits until every row has the vector of its content; nothing failed and no trigger reported a fault."""
    await table.settle_right(HashEncoder(dimensions=DIMENSIONS), timeout_s=150)
    assert await value(db, "select count(*) from sidecar_internal.failures") == 0
    assert await value(db, "select count(*) from sidecar_internal.breakages") == 0
