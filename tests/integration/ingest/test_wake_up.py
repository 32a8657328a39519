"""When the worker sleeps, and what ends its sleep. Without a database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Set as AbstractSet

from sidecar.concurrency import Backoff
from sidecar.ingest.wake_up import FIRST_POLL_S, WakeUp

LONG_S = 60.0


class Marks:
    """Where a sidecar would write that it is asleep."""

    def __init__(self) -> None:
        self.written: list[tuple[set[int], float, set[int]]] = []

    async def write(self, asleep: AbstractSet[int], for_s: float, awake: AbstractSet[int]) -> None:
        self.written.append((set(asleep), for_s, set(awake)))


def fall_asleep(wake_up: WakeUp) -> None:
    """From now on naps last longer than any test."""
    wake_up._poll = Backoff(LONG_S, LONG_S)


async def test_a_ring_ends_the_sleep_and_says_that_it_was_one() -> None:
    wake_up = WakeUp(LONG_S, Marks().write)
    fall_asleep(wake_up)
    sleep = asyncio.create_task(wake_up.wait())
    await asyncio.sleep(0)
    wake_up.notify()

    await asyncio.wait_for(sleep, 5)
    assert wake_up.was_notified


async def test_what_rings_during_a_claim_is_not_slept_through() -> None:
    wake_up = WakeUp(LONG_S, Marks().write)
    fall_asleep(wake_up)
    wake_up.clear()
    wake_up.notify()

    await asyncio.wait_for(wake_up.wait(), 5)


async def test_naps_grow_up_to_the_poll_interval_and_are_short_again_after_work() -> None:
    wake_up = WakeUp(0.05, Marks().write)

    async def nap() -> float:
        began = time.monotonic()
        await wake_up.wait()
        return time.monotonic() - began

    assert await nap() >= 0.75 * FIRST_POLL_S
    for _ in range(3):
        await nap()
    assert wake_up._poll.next_s() >= 0.75 * 0.05
    wake_up.reset_poll()
    assert wake_up._poll.next_s() <= 1.25 * FIRST_POLL_S


async def test_the_mark_is_written_once_per_poll_interval_and_lasts_for_two() -> None:
    marks = Marks()
    wake_up = WakeUp(LONG_S, marks.write)

    assert await wake_up.announce_sleep({1, 2})
    assert not await wake_up.announce_sleep({1, 2})
    assert marks.written == [({1, 2}, 2 * LONG_S, set())]


async def test_a_watch_that_has_nothing_to_fetch_loses_its_mark_and_gets_it_again() -> None:
    marks = Marks()
    wake_up = WakeUp(LONG_S, marks.write)

    await wake_up.announce_sleep({1, 2})
    assert not await wake_up.announce_sleep({1})
    assert await wake_up.announce_sleep({1, 2})
    assert marks.written[1:] == [(set(), 2 * LONG_S, {2}), ({2}, 2 * LONG_S, set())]
