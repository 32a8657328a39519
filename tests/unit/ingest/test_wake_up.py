"""When the worker sleeps, and what wakes it. Without a database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Set as AbstractSet

from sidecar.concurrency import Backoff
from sidecar.ingest.wake_up import FIRST_POLL_S, WakeUp

LONG_S = 60.0


class Announcements:
    """Records announcements of sleep in place of the database."""

    def __init__(self) -> None:
        self.written: list[tuple[set[int], float, set[int]]] = []

    async def write(self, asleep: AbstractSet[int], for_s: float, awake: AbstractSet[int]) -> None:
        self.written.append((set(asleep), for_s, set(awake)))


def poll_late(wake_up: WakeUp) -> None:
    """Makes the next poll come later than any test lasts."""
    wake_up._poll = Backoff(LONG_S, LONG_S)


async def test_a_notification_ends_the_sleep_and_is_known_as_the_cause() -> None:
    wake_up = WakeUp(LONG_S, Announcements().write)
    poll_late(wake_up)
    sleeping = asyncio.create_task(wake_up.wait())
    await asyncio.sleep(0)
    wake_up.notify()

    await asyncio.wait_for(sleeping, 5)
    assert wake_up.was_notified


async def test_a_notification_during_a_claim_is_not_lost() -> None:
    wake_up = WakeUp(LONG_S, Announcements().write)
    poll_late(wake_up)
    wake_up.clear()
    wake_up.notify()

    await asyncio.wait_for(wake_up.wait(), 5)


async def test_sleeps_grow_up_to_the_poll_interval_and_are_short_again_after_work() -> None:
    wake_up = WakeUp(0.05, Announcements().write)

    async def sleep_once() -> float:
        began = time.monotonic()
        await wake_up.wait()
        return time.monotonic() - began

    assert await sleep_once() >= 0.75 * FIRST_POLL_S
    for _ in range(3):
        await sleep_once()
    assert wake_up._poll.next_s() >= 0.75 * 0.05
    wake_up.reset_poll()
    assert wake_up._poll.next_s() <= 1.25 * FIRST_POLL_S


async def test_sleep_is_announced_once_per_poll_interval_for_two_of_them() -> None:
    announcements = Announcements()
    wake_up = WakeUp(LONG_S, announcements.write)

    assert await wake_up.announce_sleep({1, 2})
    assert not await wake_up.announce_sleep({1, 2})
    assert announcements.written == [({1, 2}, 2 * LONG_S, set())]


async def test_sleep_of_a_watch_is_revoked_and_announced_again() -> None:
    announcements = Announcements()
    wake_up = WakeUp(LONG_S, announcements.write)

    await wake_up.announce_sleep({1, 2})
    assert not await wake_up.announce_sleep({1})
    assert await wake_up.announce_sleep({1, 2})
    assert announcements.written[1:] == [(set(), 2 * LONG_S, {2}), ({2}, 2 * LONG_S, set())]
