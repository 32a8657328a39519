"""Sleeping and waking of the worker, and what triggers are told of it.

    AWAKE    claiming. No mark is written, so under load triggers send no NOTIFY at all.
    DOZING   a claim found nothing. Marked asleep (committed), claimed once more, then waits: for a notification, a
             stop, or the poll, whichever is first. The poll comes after 20 ms at first, doubling to POLL_INTERVAL_S:
             it also finds what was written, but not yet committed, when the claim looked.

There is a mark for each watch, on those alone whose rows would be claimed at once: not where the watch is paused,
broken, another model's or at its cap. It is written at most once per POLL_INTERVAL_S and expires after two, so it may
outlast a nap by a second; the notifications it causes then (at most one in 5 ms) find the worker awake and cost nothing
but themselves.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet

from sidecar.concurrency import Backoff

FIRST_POLL_S = 0.02


class WakeUp:
    """`mark_asleep(asleep, for_s, awake)` writes the marks of watches, and takes those of `awake` back."""

    def __init__(
        self,
        poll_interval_s: float,
        mark_asleep: Callable[[AbstractSet[int], float, AbstractSet[int]], Awaitable[None]],
    ) -> None:
        self._poll_interval_s = poll_interval_s
        self._mark_asleep = mark_asleep
        self._woken = asyncio.Event()
        self._marked: AbstractSet[int] = frozenset()  # watches whose mark may not have expired
        self._marked_at = float("-inf")
        self._poll = Backoff(FIRST_POLL_S, poll_interval_s)
        self.was_notified = False

    def notify(self) -> None:
        """Somebody committed something. Called on the event loop."""
        self.was_notified = True
        self._woken.set()

    def wake(self) -> None:
        """Look again, for a reason of our own."""
        self._woken.set()

    def clear(self) -> None:
        """To be called before claiming: what rings during the claim is not lost."""
        self.was_notified = False
        self._woken.clear()

    def found_work(self) -> None:
        """Polls quickly again after work."""
        self._poll.reset()

    async def announce_sleep(self, watches: AbstractSet[int]) -> bool:
        """Marks these watches as asleep if that is due, and no others. True: claim once more before waiting."""
        is_due = time.monotonic() - self._marked_at >= self._poll_interval_s
        asleep, awake = watches if is_due else watches - self._marked, self._marked - watches
        if not asleep and not awake:
            return False
        await self._mark_asleep(asleep, 2 * self._poll_interval_s, awake)
        self._marked = watches
        if is_due:
            self._marked_at = time.monotonic()
        return bool(asleep)

    async def wait(self, at_most_s: float = math.inf) -> bool:
        """Until rung or nudged: True; or until the poll, at most so long: False."""
        try:
            async with asyncio.timeout(min(self._poll.next_s(), at_most_s)):
                return await self._woken.wait()
        except TimeoutError:
            return False
