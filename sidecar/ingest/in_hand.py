"""Which keys a batch of this sidecar is working on.

A row that changes again while it is encoded has a second event, in a second batch. Encoded at once, one of the two
would come too late and be done again; so the second batch leaves it for last, and reads it when the first is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from sidecar.postgres.events import Key


class KeysInHand:
    """Of all batches. Other sidecars do not know of them; complete has the last word."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, Key], asyncio.Event] = {}

    def has(self, watch_id: int, key: Key) -> bool:
        return (watch_id, key) in self._ends

    @contextmanager
    def held(self, watch_id: int, keys: Collection[Key]) -> Iterator[None]:
        """None of `keys` may be in hand."""
        end = asyncio.Event()
        self._ends.update(((watch_id, key), end) for key in keys)
        try:
            yield
        finally:
            for key in keys:
                del self._ends[watch_id, key]
            end.set()

    async def wait(self, watch_id: int, key: Key) -> None:
        """Until whoever has it in hand is done with it."""
        await self._ends[watch_id, key].wait()
