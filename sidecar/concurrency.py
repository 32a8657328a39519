"""Tasks that end with their block, work that cancellation does not interrupt, daemon threads, delays between retries.

`asyncio.TaskGroup` waits for its tasks at the end of its block, and raises their errors in groups. Here the end of the
block cancels what is still running, and an error is raised as it is, where the task is awaited.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")

JITTER = 0.25


@asynccontextmanager
async def background(work: Coroutine[Any, Any, T], name: str) -> AsyncIterator[asyncio.Task[T]]:
    """Runs `work` as a task for the length of the block, then cancels and awaits it.

    An error of the task is raised only where the task itself is awaited.
    """
    task = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        await cancel_and_wait([task])


@asynccontextmanager
async def running_tasks(work: Mapping[str, Coroutine[Any, Any, T]]) -> AsyncIterator[list[asyncio.Task[T]]]:
    """Runs each coroutine as a task of its name for the length of the block, then cancels and awaits all of them.

    Yields the tasks in the order of `work`. An error of a task is raised only where the task itself is awaited.
    """
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
    try:
        yield tasks
    finally:
        await cancel_and_wait(tasks)


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels the tasks and returns once all of them have ended. Their errors are dropped."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    # Unlike `asyncio.wait`, a gather that is cancelled itself still waits for its tasks to end.
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_to_completion(work: Coroutine[Any, Any, T], name: str) -> T:
    """The result of `work`, which ends even while the caller is being cancelled, however often.

    The cancellation is raised afterwards. An error of `work` gives way to it.
    """
    task = asyncio.create_task(work, name=name)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # or it would be logged as never retrieved
        raise cancelled
    return task.result()


async def in_daemon_thread(name: str, work: Callable[[], T]) -> T:
    """The result of blocking `work`, run in a thread that does not keep the process from exiting.

    Returns at once when cancelled; the thread continues, and its result is dropped.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        outcome.set_running_or_notify_cancel()
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            outcome.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - a panic of Rust's tokenizers, say; the waiter must not hang
            panic = RuntimeError(f"{type(error).__name__}: {error}")
            panic.__cause__ = error
            outcome.set_exception(panic)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(outcome)


class Backoff:
    """Delays between retries: the first is `first_s`, each further one twice as long, up to `last_s`.

    Each is varied by up to ± `jitter`, so that processes that failed together do not retry together.
    """

    def __init__(self, first_s: float, last_s: float, jitter: float = JITTER) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._jitter = jitter
        self._next_s = first_s

    def next_s(self) -> float:
        """The next delay in seconds."""
        delay_s, self._next_s = self._next_s, min(self._next_s * 2, self._last_s)
        return with_jitter(delay_s, self._jitter)

    def reset(self) -> None:
        """Starts again at `first_s`, after a success."""
        self._next_s = self._first_s


def with_jitter(delay_s: float, jitter: float = JITTER) -> float:
    """`delay_s`, varied by up to ± `jitter` of itself."""
    return delay_s * random.uniform(1 - jitter, 1 + jitter)  # noqa: S311 - no secret
