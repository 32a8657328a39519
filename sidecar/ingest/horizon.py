"""The horizon: for each queue a floor, a generation at or below which nothing waits, so that claims search above it.

Beside the floors it has the transactions in flight that may still commit events below them.

Completed events leave dead index entries, which Postgres keeps for as long as any old snapshot exists (a forgotten
transaction, a slow replica): scanning a million of them takes 150 ms, in each claim. Once a second the horizon reads

    drawn      the highest generation handed out so far, read first
    in flight  the transactions that have an id and have not ended, read next

Events that become visible after that belong to a transaction in flight, or to one that began later, whose generations
are above `drawn`. So the floor of a queue, where it was last seen to begin, may rise up to `drawn`, and is exact until
one of the transactions in flight ends. For each of them the highest generation before it began is kept; once it has
ended, the queue is searched from there again, by the very claim whose snapshot is the first to contain it. A forgotten
transaction therefore costs nothing until it ends, whether it has written or not.

One case escapes this: a generation that is drawn before its transaction has an id (some microseconds, in a statement of
ours). To catch it, each whole queue is searched now and then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sidecar.postgres.events import find_first_generations, read_horizon

if TYPE_CHECKING:
    from sidecar.postgres.database import Connection

REFRESH_INTERVAL_S = 1.0
# Between searches of whole queues, which may take 1 % of the time at most.
FULL_SEARCH_INTERVAL_S, FULL_SEARCH_TIME_SHARE = 60.0, 0.01


class Horizon:
    """Floors of all queues. One per sidecar: generations and transactions are those of the whole database."""

    def __init__(self) -> None:
        self._refreshing = asyncio.Lock()
        self._floors: dict[int, int] = {}  # by watch
        self._stale: set[int] = set()  # watches whose floor may have risen since
        self._in_flight: dict[int, int] = {}  # transaction → a generation below all of its own
        self._sequence: int | None = None  # OID of the sequence that generations are drawn from
        self._drawn = 0
        self._next_xid = 0
        self._next_refresh = float("-inf")  # on the clock of time.monotonic
        self._next_full_search = float("-inf")

    def floor(self, watch_id: int) -> int:
        """Generation at or below which nothing waited at the last refresh; 0 if unknown."""
        return self._floors.get(watch_id, 0)

    def late(self) -> list[int]:
        """Transactions in flight whose events may come below a floor, as xid, generation, xid, generation …

        The form is that of `sidecar_internal.horizon_floor`.
        """
        highest = max(self._floors.values(), default=0)
        return [number for xid, gen in self._in_flight.items() if gen < highest for number in (xid, gen)]

    def front(self, watch_id: int) -> list[int]:
        """Where to search a queue: its floor, then the late transactions, for `sidecar_internal.horizon_floor`."""
        return [self.floor(watch_id), *self.late()]

    def is_due(self) -> bool:
        """Whether `refresh` would read the horizon now."""
        return time.monotonic() >= self._next_refresh

    async def refresh(self, connection: Connection, watch_ids: Sequence[int]) -> None:
        """Reads the horizon if it is a second old, and raises the floors of these watches.

        Raises DatabaseError; all floors are unknown then.
        """
        async with self._refreshing:
            try:
                if self.is_due():
                    await self._read(connection)
                await self._raise_floors(
                    connection, [i for i in watch_ids if i in self._stale or i not in self._floors]
                )
            except BaseException:
                self._reset()
                raise

    async def _read(self, connection: Connection) -> None:
        seen = await read_horizon(connection)
        if seen.sequence != self._sequence or seen.drawn < self._drawn or seen.next_xid < self._next_xid:
            self._reset()  # another server, a restored database, or a sequence that was set back
        self._sequence = seen.sequence
        ended = [gen for xid, gen in self._in_flight.items() if xid not in seen.in_flight]
        self._floors = {watch_id: min(floor, *ended) if ended else floor for watch_id, floor in self._floors.items()}
        self._in_flight = {xid: self._in_flight.get(xid, self._drawn) for xid in seen.in_flight}
        self._drawn, self._next_xid = seen.drawn, seen.next_xid
        self._stale = {watch_id for watch_id, floor in self._floors.items() if floor < self._drawn}
        self._next_refresh = time.monotonic() + REFRESH_INTERVAL_S

    async def _raise_floors(self, connection: Connection, watch_ids: Sequence[int]) -> None:
        began = time.monotonic()
        if is_full_search := began >= self._next_full_search:
            self._floors.clear()
        if watch_ids or is_full_search:
            first = await find_first_generations(connection, {watch_id: self.floor(watch_id) for watch_id in watch_ids})
            for watch_id, gen in first.items():
                self._floors[watch_id] = self._drawn if gen is None else min(gen - 1, self._drawn)
            self._stale -= first.keys()
        if is_full_search:
            now = time.monotonic()
            self._next_full_search = now + max(FULL_SEARCH_INTERVAL_S, (now - began) / FULL_SEARCH_TIME_SHARE)

    def _reset(self) -> None:
        self._floors.clear()
        self._in_flight.clear()
        self._drawn = self._next_xid = 0
        self._next_refresh = float("-inf")
