"""Places for a few at a time, whose waiters have ranks."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

_NO_SHARES: Mapping[int, float] = MappingProxyType({})


class RankedSemaphore:
    """Lower ranks go first, equals in order of arrival; but a rank with a share `s` is passed over at most `1/s - 1`
    times in a row. Ranks without a share wait for all lower ones.

    Used on one event loop.
    """

    def __init__(self, places: int, shares: Mapping[int, float] = _NO_SHARES) -> None:
        self._free = places
        self._patience = {rank: 1 / share - 1 if share else math.inf for rank, share in shares.items()}
        self._waiters: dict[int, deque[asyncio.Future[None]]] = {}
        self._passed_over: dict[int, int] = {}

    @asynccontextmanager
    async def place(self, rank: int) -> AsyncIterator[None]:
        """Hold one place for the length of the block."""
        await self.acquire(rank)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, rank: int) -> None:
        """Wait for a place. It is given back with `release`."""
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(rank, deque())
        waiters.append(waiter)
        self._hand_out()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                waiters.remove(waiter)
            else:  # cancelled just after it had got a place
                self.release()
            raise

    def release(self) -> None:
        """Give a place back; the next waiter has it at once."""
        self._free += 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._free and (waiting := sorted(rank for rank, waiters in self._waiters.items() if _alive(waiters))):
            rank = next((rank for rank in reversed(waiting) if self._is_due(rank)), waiting[0])
            for other in waiting:
                self._passed_over[other] = 0 if other == rank else self._passed_over.get(other, 0) + 1
            waiter = next(each for each in self._waiters[rank] if not each.done())
            self._waiters[rank].remove(waiter)
            self._free -= 1
            waiter.set_result(None)

    def _is_due(self, rank: int) -> bool:
        return self._passed_over.get(rank, 0) >= self._patience.get(rank, math.inf)


def _alive(waiters: deque[asyncio.Future[None]]) -> bool:
    return any(not waiter.done() for waiter in waiters)
