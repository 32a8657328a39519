"""Where each queue begins: a generation at or below which nothing waits, so that a claim need not look there.

Done events leave dead index entries, which stay for as long as anybody's old snapshot does (a forgotten transaction, a
slow replica): a million of them take 150 ms to walk, in each claim. So every second the horizon is looked at:

    drawn      the highest generation handed out, read first
    in flight  the transactions with an id that have not ended, looked at next

What becomes visible after that look is of a transaction in flight, or of one that began later, whose generations lie
above `drawn`. So `floor`, where a queue was last seen to begin, may rise up to `drawn`, and is exact until one of those
in flight ends. For each of them the highest generation before it began is remembered; once it has ended, and in the
very claim whose snapshot first says so, the queue is looked at from there. A forgotten transaction, whether it has
written or not, therefore costs nothing until it ends.

Only a generation that is drawn before its transaction has an id (some microseconds, in a statement of ours) can escape
this: for such a one each queue is looked at as a whole now and then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sidecar.postgres.events import find_first_generations, read_horizon

if TYPE_CHECKING:
    from sidecar.postgres.database import Connection

LOOK_S = 1.0
WHOLE_LOOK_S, WHOLE_LOOK_SHARE = 60.0, 0.01  # between looks at a whole queue, which take 1 % of the time at most


class Horizon:
    """One per sidecar: generations and transactions are those of the whole database."""

    def __init__(self) -> None:
        self._looking = asyncio.Lock()
        self._floors: dict[int, int] = {}  # by watch
        self._stale: set[int] = set()  # watches whose floor may have risen since
        self._in_flight: dict[int, int] = {}  # transaction -> a generation below all of its own
        self._sequence: int | None = None  # which handed them out
        self._drawn = 0
        self._next_xid = 0
        self._next_look = float("-inf")  # on the clock of time.monotonic
        self._next_whole_look = float("-inf")

    def floor(self, watch_id: int) -> int:
        """Nothing waited at or below it when it was last looked at."""
        return self._floors.get(watch_id, 0)

    def late(self) -> list[int]:
        """Transactions in flight, each with its generation, for `sidecar_internal.horizon_floor`: theirs may come below
        a floor.
        """
        highest = max(self._floors.values(), default=0)
        return [number for xid, gen in self._in_flight.items() if gen < highest for number in (xid, gen)]

    def front(self, watch_id: int) -> list[int]:
        """For `sidecar_internal.horizon_floor` in a statement."""
        return [self.floor(watch_id), *self.late()]

    def is_due(self) -> bool:
        """Whether `refresh` would look now."""
        return time.monotonic() >= self._next_look

    async def refresh(self, connection: Connection, watch_ids: Sequence[int]) -> None:
        """Looks where a second has passed. Raises DatabaseError; nothing is known then."""
        async with self._looking:
            try:
                if self.is_due():
                    await self._look(connection)
                await self._raise_floors(
                    connection, [i for i in watch_ids if i in self._stale or i not in self._floors]
                )
            except BaseException:
                self._forget()
                raise

    async def _look(self, connection: Connection) -> None:
        seen = await read_horizon(connection)
        if seen.sequence != self._sequence or seen.drawn < self._drawn or seen.next_xid < self._next_xid:
            self._forget()  # another server, a database that was restored over, or a sequence that was set back
        self._sequence = seen.sequence
        ended = [gen for xid, gen in self._in_flight.items() if xid not in seen.in_flight]
        self._floors = {watch_id: min(floor, *ended) if ended else floor for watch_id, floor in self._floors.items()}
        self._in_flight = {xid: self._in_flight.get(xid, self._drawn) for xid in seen.in_flight}
        self._drawn, self._next_xid = seen.drawn, seen.next_xid
        self._stale = {watch_id for watch_id, floor in self._floors.items() if floor < self._drawn}
        self._next_look = time.monotonic() + LOOK_S

    async def _raise_floors(self, connection: Connection, watch_ids: Sequence[int]) -> None:
        began = time.monotonic()
        if is_whole := began >= self._next_whole_look:
            self._floors.clear()
        if watch_ids or is_whole:
            first = await find_first_generations(connection, {watch_id: self.floor(watch_id) for watch_id in watch_ids})
            for watch_id, gen in first.items():
                self._floors[watch_id] = self._drawn if gen is None else min(gen - 1, self._drawn)
            self._stale -= first.keys()
        if is_whole:
            now = time.monotonic()
            self._next_whole_look = now + max(WHOLE_LOOK_S, (now - began) / WHOLE_LOOK_SHARE)

    def _forget(self) -> None:
        self._floors.clear()
        self._in_flight.clear()
        self._drawn = self._next_xid = 0
        self._next_look = float("-inf")
