"""Which keys a batch of this sidecar is working on.

A row that changes again while it is encoded has a second event, in a second batch. Encoded at once, one of the two
would come too late and be done again; so the second batch leaves it for last, and reads it when the first is done.
A change does not wait for a backfill that has the same row, though: it goes first, and what the backfill has read of
the row is found to be stale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from sidecar.batching.job import ROWS, Lane
from sidecar.postgres.events import Key


class KeysInHand:
    """Of all batches. Other sidecars do not know of them; complete has the last word."""

    def __init__(self) -> None:
        self._ends: dict[Lane, dict[tuple[int, Key], asyncio.Event]] = {lane: {} for lane in ROWS}

    def has(self, watch_id: int, key: Key, lane: Lane) -> bool:
        """Whether a batch has it in hand that one of `lane` waits for."""
        return self._end_of(watch_id, key, lane) is not None

    @contextmanager
    def held(self, watch_id: int, keys: Collection[Key], lane: Lane) -> Iterator[None]:
        """A batch of `lane` has `keys` in hand, of which it need not wait for any."""
        end, ends = asyncio.Event(), self._ends[lane]
        ends.update(((watch_id, key), end) for key in keys)
        try:
            yield
        finally:
            for key in keys:
                del ends[watch_id, key]
            end.set()

    async def wait(self, watch_id: int, key: Key, lane: Lane) -> None:
        """Until the batch that has it in hand is done with it."""
        end = self._end_of(watch_id, key, lane)
        if end is not None:
            await end.wait()

    def _end_of(self, watch_id: int, key: Key, lane: Lane) -> asyncio.Event | None:
        ends = (self._ends[other].get((watch_id, key)) for other in ROWS if other.rank <= lane.rank)
        return next((end for end in ends if end is not None), None)
