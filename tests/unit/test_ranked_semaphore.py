"""A semaphore whose waiters have ranks."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.ranked_semaphore import RankedSemaphore


class Line:
    """Waiters for the only slot of a semaphore; `served` lists their ranks and numbers in the order they got it."""

    def __init__(self, semaphore: RankedSemaphore) -> None:
        self.semaphore = semaphore
        self.served: list[tuple[int, int]] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def add(self, rank: int) -> None:
        self.tasks.append(asyncio.create_task(self._wait(rank, len(self.tasks)), name=f"waiter-{rank}"))
        await asyncio.sleep(0)

    async def _wait(self, rank: int, number: int) -> None:
        async with self.semaphore.slot(rank):
            self.served.append((rank, number))

    async def drain(self) -> None:
        self.semaphore.release()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_lower_ranks_go_first_and_equals_in_order() -> None:
    line = Line(RankedSemaphore(1))
    await line.semaphore.acquire(0)
    for rank in (3, 2, 3, 0, 2):
        await line.add(rank)
    await line.drain()
    assert line.served == [(0, 3), (2, 1), (2, 4), (3, 0), (3, 2)]


@pytest.mark.parametrize(("share", "passed_over"), [(0.1, 9), (0.5, 1), (0.9, 1)])
async def test_a_rank_with_a_share_is_passed_over_a_limited_number_of_times(share: float, passed_over: int) -> None:
    line = Line(RankedSemaphore(1, {3: share}))
    await line.semaphore.acquire(0)
    await line.add(3)
    for _ in range(30):
        await line.add(2)
    await line.drain()
    assert line.served.index((3, 0)) == passed_over


class Crowd:
    """Tasks that ask for a slot, and are cancelled or finish while they wait or hold it; `inside` tasks hold one."""

    def __init__(self, slots: int) -> None:
        self.semaphore = RankedSemaphore(slots, {2: 0.25})
        self.inside = 0
        self._ends: list[asyncio.Event] = []
        self._tasks: list[asyncio.Task[None]] = []

    def do(self, what: str, number: int) -> None:
        if what == "come":
            self._ends.append(asyncio.Event())
            self._tasks.append(asyncio.create_task(self._hold(self._ends[-1], number % 3), name=f"holder-{number}"))
        elif number < len(self._tasks):
            if what == "leave":
                self._tasks[number].cancel()
            else:
                self._ends[number].set()

    async def _hold(self, end: asyncio.Event, rank: int) -> None:
        async with self.semaphore.slot(rank):
            self.inside += 1
            try:
                await end.wait()
            finally:
                self.inside -= 1

    async def finish_all(self) -> None:
        for end in self._ends:
            end.set()
        await asyncio.wait_for(asyncio.gather(*self._tasks, return_exceptions=True), 5)


@given(
    slots=st.integers(1, 3),
    steps=st.lists(st.tuples(st.sampled_from(["come", "leave", "finish"]), st.integers(0, 20)), max_size=60),
)
def test_no_slot_is_lost_or_given_twice_by_cancelled_waiters_and_holders(
    slots: int, steps: list[tuple[str, int]]
) -> None:
    async def drive() -> None:
        crowd = Crowd(slots)
        for what, number in steps:
            crowd.do(what, number)
            if number % 2:  # else several steps happen before any task runs
                await asyncio.sleep(0)
            assert crowd.inside <= slots
        await crowd.finish_all()
        for _ in range(slots):
            await asyncio.wait_for(crowd.semaphore.acquire(0), 5)

    asyncio.run(drive())
