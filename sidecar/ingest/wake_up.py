"""The worker's sleep: what ends it, and when triggers are asked to send notifications.

    AWAKE    claiming. Nothing asks for notifications, so under load triggers send no NOTIFY at all.
    ASLEEP   a claim found nothing. The sleep is announced (and committed), one more claim is made, then the worker
             waits for a notification, a wake-up from inside the process, or the next poll, whichever comes first. The
             first poll comes after 20 ms; the delay doubles up to POLL_INTERVAL_S. Polls also find what was written but
             not yet committed when the last claim looked.

Sleep is announced per watch, and only for watches whose rows would be claimed at once: not for those that are paused,
broken, another model's, or at their rate limit. It is announced at most once per POLL_INTERVAL_S and expires after two,
so an announcement may outlast the sleep by a second. The notifications it causes then (at most one in 5 ms) find the
worker awake and cost nothing but themselves.
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
    """The worker's sleep. `mark_asleep(asleep, for_s, awake)` writes which watches sleep, and which no longer do."""

    def __init__(
        self,
        poll_interval_s: float,
        mark_asleep: Callable[[AbstractSet[int], float, AbstractSet[int]], Awaitable[None]],
    ) -> None:
        self._poll_interval_s = poll_interval_s
        self._mark_asleep = mark_asleep
        self._woken = asyncio.Event()
        self._announced: AbstractSet[int] = frozenset()  # watches whose announcement may not have expired
        self._announced_at = float("-inf")
        self._poll = Backoff(FIRST_POLL_S, poll_interval_s)
        self.was_notified = False

    def notify(self) -> None:
        """Wakes the worker because a notification arrived. Called on the event loop."""
        self.was_notified = True
        self._woken.set()

    def wake(self) -> None:
        """Wakes the worker for a reason from inside the process."""
        self._woken.set()

    def clear(self) -> None:
        """Forgets earlier wake-ups. Called before claiming, so that a wake-up during the claim is not lost."""
        self.was_notified = False
        self._woken.clear()

    def reset_poll(self) -> None:
        """Polls at short intervals again, after work was found."""
        self._poll.reset()

    async def announce_sleep(self, watches: AbstractSet[int]) -> bool:
        """Announces sleep for these watches and no others, if that is due. True: claim once more before waiting."""
        is_due = time.monotonic() - self._announced_at >= self._poll_interval_s
        asleep, awake = watches if is_due else watches - self._announced, self._announced - watches
        if not asleep and not awake:
            return False
        await self._mark_asleep(asleep, 2 * self._poll_interval_s, awake)
        self._announced = watches
        if is_due:
            self._announced_at = time.monotonic()
        return bool(asleep)

    async def wait(self, at_most_s: float = math.inf) -> bool:
        """Waits until woken (True), or until the next poll but no longer than `at_most_s` (False)."""
        try:
            async with asyncio.timeout(min(self._poll.next_s(), at_most_s)):
                return await self._woken.wait()
        except TimeoutError:
            return False
