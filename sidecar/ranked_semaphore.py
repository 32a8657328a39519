"""A semaphore whose waiters have priorities."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

_NO_SHARES: Mapping[int, float] = MappingProxyType({})


class RankedSemaphore:
    """Lower ranks go first, equal ranks in order of arrival. For use on one event loop.

    A rank with a share `s` is passed over at most `1/s - 1` times in a row; one without waits for all lower ranks.
    """

    def __init__(self, places: int, shares: Mapping[int, float] = _NO_SHARES) -> None:
        self._free = places
        self._max_passed_over = {rank: 1 / share - 1 if share else math.inf for rank, share in shares.items()}
        self._waiters: dict[int, deque[asyncio.Future[None]]] = {}
        self._passed_over: dict[int, int] = {}

    @asynccontextmanager
    async def place(self, rank: int) -> AsyncIterator[None]:
        """Holds one place for the length of the block."""
        await self.acquire(rank)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, rank: int) -> None:
        """Waits for a place. Give it back with `release`."""
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(rank, deque())
        waiters.append(waiter)
        self._grant()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                waiters.remove(waiter)
            else:  # cancelled just after it was given a place
                self.release()
            raise

    def release(self) -> None:
        """Gives a place back, which the next waiter gets at once."""
        self._free += 1
        self._grant()

    def _grant(self) -> None:
        while self._free and (waiting := self._waiting_ranks()):
            rank = next((rank for rank in reversed(waiting) if self._is_due(rank)), waiting[0])
            for other in waiting:
                self._passed_over[other] = 0 if other == rank else self._passed_over.get(other, 0) + 1
            waiter = next(each for each in self._waiters[rank] if not each.done())
            self._waiters[rank].remove(waiter)
            self._free -= 1
            waiter.set_result(None)

    def _waiting_ranks(self) -> list[int]:
        """In ascending order. A waiter whose future is done was granted a place or cancelled."""
        return sorted(rank for rank, waiters in self._waiters.items() if any(not waiter.done() for waiter in waiters))

    def _is_due(self, rank: int) -> bool:
        return self._passed_over.get(rank, 0) >= self._max_passed_over.get(rank, math.inf)
