"""Tasks that end with their block, work that a cancellation does not interrupt, daemon threads, delays of retries."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from sidecar.concurrency import (
    Backoff,
    background,
    cancel_and_wait,
    in_daemon_thread,
    run_to_completion,
    running_tasks,
)


class Worker:
    """A coroutine that runs until it is cancelled, then needs some turns of the event loop to clean up."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cleaned_up = False

    async def run(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            self.cleaned_up = True


async def fail() -> None:
    raise ValueError("failed")


async def test_a_background_task_has_ended_when_its_block_has() -> None:
    worker = Worker()
    async with background(worker.run(), "worker") as task:
        await worker.started.wait()
        assert task.get_name() == "worker"
        assert not task.done()

    assert task.cancelled()
    assert worker.cleaned_up


async def test_a_background_task_ends_when_its_block_raises_and_the_error_is_the_blocks() -> None:
    worker = Worker()

    async def raise_beside_it() -> None:
        async with background(worker.run(), "worker"):
            await worker.started.wait()
            raise KeyError

    with pytest.raises(KeyError):
        await raise_beside_it()
    assert worker.cleaned_up


async def test_an_error_of_a_background_task_is_raised_only_where_the_task_is_awaited() -> None:
    async with background(fail(), "fails") as task:
        await asyncio.wait([task])

    with pytest.raises(ValueError, match="failed"):
        async with background(fail(), "fails") as task:
            await task


async def test_a_block_that_is_cancelled_while_its_task_cleans_up_still_waits_for_the_end_of_the_cleanup() -> None:
    worker, leaving = Worker(), asyncio.Event()

    async def hold() -> None:
        async with background(worker.run(), "worker"):
            await worker.started.wait()
            leaving.set()

    holder = asyncio.create_task(hold(), name="holder")
    await leaving.wait()
    await asyncio.sleep(0)
    holder.cancel()

    with pytest.raises(asyncio.CancelledError):
        await holder
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "worker"]


async def test_a_task_that_ends_in_the_same_turn_as_its_block_loses_neither_its_result_nor_its_error() -> None:
    turn = asyncio.Event()

    async def result() -> int:
        await turn.wait()
        return 7

    async def error() -> int:
        await turn.wait()
        raise ValueError("failed")

    async with running_tasks({"result": result(), "error": error()}) as tasks:
        await asyncio.sleep(0)
        turn.set()
        await asyncio.wait(tasks)

    assert tasks[0].result() == 7
    assert isinstance(tasks[1].exception(), ValueError)


async def test_running_tasks_come_in_order_under_their_names() -> None:
    async def number(n: int) -> int:
        return n

    async with running_tasks({f"number-{n}": number(n) for n in range(3)}) as tasks:
        assert [await task for task in tasks] == [0, 1, 2]
        assert [task.get_name() for task in tasks] == ["number-0", "number-1", "number-2"]


async def test_the_first_error_that_is_awaited_cancels_the_other_tasks_and_comes_out_bare() -> None:
    worker = Worker()

    async def await_both() -> None:
        async with running_tasks({"worker": worker.run(), "fails": fail()}) as tasks:
            await worker.started.wait()
            await asyncio.gather(*tasks)

    with pytest.raises(ValueError, match="failed"):
        await await_both()
    assert worker.cleaned_up


async def test_there_may_be_no_tasks_at_all() -> None:
    await cancel_and_wait([])


async def test_work_goes_on_to_its_end_when_its_caller_is_cancelled_and_the_cancellation_comes_out_then() -> None:
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        ended.set()

    caller = asyncio.create_task(run_to_completion(work(), "work"), name="caller")
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()

    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()


async def test_a_second_cancellation_does_not_end_the_wait_for_work_that_runs_to_completion() -> None:
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        ended.set()

    caller = asyncio.create_task(run_to_completion(work(), "work"), name="caller")
    for _ in range(2):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()

    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()


async def test_work_that_runs_to_completion_raises_its_own_error() -> None:
    with pytest.raises(ValueError, match="failed"):
        await run_to_completion(fail(), "fails")


async def test_an_error_of_work_whose_caller_was_cancelled_gives_way_to_the_cancellation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    may_end = asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        raise ValueError("failed")

    caller = asyncio.create_task(run_to_completion(work(), "work"), name="caller")
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    may_end.set()

    await asyncio.wait([caller])
    assert caller.cancelled()
    del caller  # or its traceback would keep the task of the work
    gc.collect()  # asyncio logs an error that was never retrieved when the task is freed
    assert caplog.messages == []


def test_a_backoff_doubles_up_to_its_last_delay_and_starts_again_after_a_reset() -> None:
    backoff = Backoff(1.0, 5.0, jitter=0)
    assert [backoff.next_s() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]

    backoff.reset()
    assert backoff.next_s() == 1.0


def test_delays_vary_by_their_jitter_and_no_more() -> None:
    delays_s = [Backoff(1.0, 5.0).next_s() for _ in range(200)]

    assert all(0.75 <= delay_s <= 1.25 for delay_s in delays_s)
    assert len(set(delays_s)) > 100


def test_a_backoff_of_a_day_of_outage_does_not_overflow() -> None:
    backoff = Backoff(0.1, 3.0)

    assert max(backoff.next_s() for _ in range(30_000)) <= 3.75


async def test_a_thread_returns_or_raises_and_is_a_daemon() -> None:
    assert await in_daemon_thread("answering", lambda: threading.current_thread().daemon) is True
    assert await in_daemon_thread("naming", lambda: threading.current_thread().name) == "naming"
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread("raising", lambda: 1 // 0)


async def test_a_panic_in_a_thread_is_raised_where_it_is_awaited() -> None:
    def panic() -> None:
        raise SystemExit("as the panics of libraries in Rust do, it derives from BaseException only")

    with pytest.raises(RuntimeError, match="SystemExit: as the panics"):
        await asyncio.wait_for(in_daemon_thread("panicking", panic), 5)


async def test_a_cancelled_wait_does_not_wait_for_its_thread() -> None:
    began, may_end = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        may_end.wait(10)

    waiting = asyncio.create_task(in_daemon_thread("slow", work), name="waiting")
    await asyncio.to_thread(began.wait, 5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5)
    may_end.set()
