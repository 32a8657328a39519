"""A semaphore whose waiters have ranks."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

_NO_SHARES: Mapping[int, float] = MappingProxyType({})


class RankedSemaphore:
    """`slots` that are given to waiters of the lowest rank first, and within a rank in order of arrival.

    A rank with a share `s` is passed over at most `1/s - 1` times in a row; ranks without one wait for all lower ranks.
    Used on one event loop.
    """

    def __init__(self, slots: int, shares: Mapping[int, float] = _NO_SHARES) -> None:
        self._free = slots
        self._max_passed_over = {rank: 1 / share - 1 if share else math.inf for rank, share in shares.items()}
        self._waiters: dict[int, deque[asyncio.Future[None]]] = {}
        self._passed_over: dict[int, int] = {}

    @asynccontextmanager
    async def slot(self, rank: int) -> AsyncIterator[None]:
        """Holds one slot for the length of the block."""
        await self.acquire(rank)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, rank: int) -> None:
        """Waits for a slot, to be freed with `release`."""
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(rank, deque())
        waiters.append(waiter)
        self._grant()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                waiters.remove(waiter)
            else:  # cancelled just after it was given a slot
                self.release()
            raise

    def release(self) -> None:
        """Frees a slot; the next waiter gets it at once."""
        self._free += 1
        self._grant()

    def _grant(self) -> None:
        while self._free and (waiting := self._waiting_ranks()):
            rank = next((rank for rank in reversed(waiting) if self._must_be_next(rank)), waiting[0])
            for other in waiting:
                self._passed_over[other] = 0 if other == rank else self._passed_over.get(other, 0) + 1
            waiter = next(each for each in self._waiters[rank] if not each.done())
            self._waiters[rank].remove(waiter)
            self._free -= 1
            waiter.set_result(None)

    def _waiting_ranks(self) -> list[int]:
        """In ascending order. A waiter whose future is done was granted a place or cancelled."""
        return sorted(rank for rank, waiters in self._waiters.items() if any(not waiter.done() for waiter in waiters))

    def _must_be_next(self, rank: int) -> bool:
        return self._passed_over.get(rank, 0) >= self._max_passed_over.get(rank, math.inf)
