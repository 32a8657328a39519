"""When the worker sleeps, and what ends its sleep. Without a database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Set as AbstractSet

from sidecar.ingest.wake_up import FIRST_POLL_S, Alarm

LONG_S = 60.0


class Marks:
    """Where a sidecar would write that it is asleep."""

    def __init__(self) -> None:
        self.written: list[tuple[set[int], float, set[int]]] = []

    async def write(self, asleep: AbstractSet[int], for_s: float, awake: AbstractSet[int]) -> None:
        self.written.append((set(asleep), for_s, set(awake)))


def fall_asleep(alarm: Alarm) -> None:
    """From now on naps last longer than any test."""
    alarm._poll_s = LONG_S


async def test_a_ring_ends_the_sleep_and_says_that_it_was_one() -> None:
    alarm = Alarm(LONG_S, Marks().write)
    fall_asleep(alarm)
    sleep = asyncio.create_task(alarm.wait())
    await asyncio.sleep(0)
    alarm.ring()

    await asyncio.wait_for(sleep, 5)
    assert alarm.was_notified


async def test_what_rings_during_a_claim_is_not_slept_through() -> None:
    alarm = Alarm(LONG_S, Marks().write)
    fall_asleep(alarm)
    alarm.clear()
    alarm.ring()

    await asyncio.wait_for(alarm.wait(), 5)


async def test_naps_grow_up_to_the_poll_interval_and_are_short_again_after_work() -> None:
    alarm = Alarm(0.05, Marks().write)

    async def nap() -> float:
        began = time.monotonic()
        await alarm.wait()
        return time.monotonic() - began

    assert await nap() >= 0.75 * FIRST_POLL_S
    for _ in range(3):
        await nap()
    assert alarm._poll_s == 0.05
    alarm.found_work()
    assert alarm._poll_s == FIRST_POLL_S


async def test_the_mark_is_written_once_per_poll_interval_and_lasts_for_two() -> None:
    marks = Marks()
    alarm = Alarm(LONG_S, marks.write)

    assert await alarm.mark({1, 2})
    assert not await alarm.mark({1, 2})
    assert marks.written == [({1, 2}, 2 * LONG_S, set())]


async def test_a_watch_that_has_nothing_to_fetch_loses_its_mark_and_gets_it_again() -> None:
    marks = Marks()
    alarm = Alarm(LONG_S, marks.write)

    await alarm.mark({1, 2})
    assert not await alarm.mark({1})
    assert await alarm.mark({1, 2})
    assert marks.written[1:] == [(set(), 2 * LONG_S, {2}), ({2}, 2 * LONG_S, set())]
