"""Threads that tokenise, so that the event loop need not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from sidecar.batching.lane import Lane
from sidecar.errors import DeviceError

Result = TypeVar("Result")

_THREADS_OF_A_LANE = 2
_of_thread = threading.local()


def check_wanted() -> None:
    """Long preparations call this at intervals. Raises DeviceError in a thread whose caller has gone."""
    caller_has_gone: threading.Event | None = getattr(_of_thread, "caller_has_gone", None)
    if caller_has_gone is not None and caller_has_gone.is_set():
        raise DeviceError("The caller of this preparation has gone.")


class PreparationThreads:
    """A few threads for each lane, started when needed: no query stands behind documents or rows."""

    threads_of_a_lane = _THREADS_OF_A_LANE

    def __init__(self) -> None:
        self._executors = {
            lane: ThreadPoolExecutor(_THREADS_OF_A_LANE, thread_name_prefix=f"prepare-{lane.value}") for lane in Lane
        }
        self._in_hand: dict[Lane, set[Future[Any]]] = {lane: set() for lane in Lane}
        self._closed = False

    def busy(self, *lanes: Lane) -> bool:
        """Whether anything of these lanes runs, or waits to; also for callers that have gone."""
        return any(self._in_hand[lane] for lane in lanes)

    async def run(self, lane: Lane, work: Callable[[], Result]) -> Result:
        """The result of blocking `work`. Cancelled before a thread has begun with it, none ever does; what has begun
        ends where it calls `check_wanted`.

        Raises DeviceError once closed.
        """
        if self._closed:
            raise DeviceError("The batcher has ended; the process is on its way down.")
        caller_has_gone = threading.Event()
        job = self._executors[lane].submit(_run, work, caller_has_gone)
        in_hand = self._in_hand[lane]
        in_hand.add(job)
        job.add_done_callback(in_hand.discard)  # in the thread, if it ends there: adding and discarding are atomic
        try:
            return await asyncio.wrap_future(job)
        finally:
            caller_has_gone.set()

    def close(self) -> None:
        """Nothing more is begun but what somebody waits for already; the threads end with it."""
        self._closed = True
        for executor in self._executors.values():
            executor.shutdown(wait=False)


def _run(work: Callable[[], Result], caller_has_gone: threading.Event) -> Result:
    _of_thread.caller_has_gone = caller_has_gone
    try:
        return work()
    finally:
        _of_thread.caller_has_gone = None
