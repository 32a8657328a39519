"""Keeps watch over the tasks of the process: one that ends unasked is the end of the process."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

from sidecar.concurrency import background
from sidecar.errors import ConfigurationError, DeviceError, ModelError
from sidecar.exit_deadline import DEADLINE_THREAD

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

EXIT_FAILURE = 1
EXIT_CONFIGURATION = 2


class Supervisor:
    """Why: a task that dies inside a lifespan is silent otherwise, and the server goes on answering 200.

    `on_failure` is called once, at the first failure, with its reason; it has to stop the server.
    """

    def __init__(self, on_failure: Callable[[str], None]) -> None:
        self.failure: str | None = None
        self.exit_code = 0
        self._on_failure = on_failure
        self.stopping = False

    def stop(self) -> None:
        """From now on tasks may end."""
        self.stopping = True

    @asynccontextmanager
    async def running(self, name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
        """`work` as a named task inside the block; at its end the task is cancelled and awaited."""
        async with background(self._watch(name, work), name) as task:
            yield task

    async def _watch(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ConfigurationError as error:
            for problem in error.problems:
                logger.critical("%s", problem)
            self._fail(f"{name}: {error}", EXIT_CONFIGURATION)
        except (ModelError, DeviceError) as error:
            logger.critical("%s", error)
            self._fail(f"{name}: {error}", EXIT_FAILURE)
        except Exception as error:
            logger.critical("Task %s died; the process ends.", name, exc_info=True)
            self._fail(f"task {name} died: {error}", EXIT_FAILURE)
        else:
            if not self.stopping:
                logger.critical("Task %s ended unasked; the process ends.", name)
                self._fail(f"task {name} ended unasked", EXIT_FAILURE)

    def _fail(self, reason: str, exit_code: int) -> None:
        if self.failure is None:
            self.failure, self.exit_code = reason, exit_code
            self._on_failure(reason)


def end_despite_threads(exit_code: int) -> NoReturn:
    """Ends the process at once, whatever threads of ours are still running: one that hangs in the device's driver, say.

    The interpreter's own end waits for some of them, runs the handlers of libraries, which may wait for the device, and
    takes seconds to let go of all that was loaded, in which no deadline can be kept.
    """
    others = (thread for thread in threading.enumerate() if thread is not threading.current_thread())
    if ours := {thread.name for thread in others if thread.name != DEADLINE_THREAD}:
        logger.warning("Ended without waiting for %s.", ", ".join(sorted(ours)))
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(exit_code)


async def in_daemon_thread(name: str, work: Callable[[], Result]) -> Result:
    """The result of blocking `work`, in a thread that does not keep the process from ending.

    Cancelled, it returns at once; the thread goes on, and nobody hears of it.
    """
    outcome: Future[Result] = Future()

    def run() -> None:
        outcome.set_running_or_notify_cancel()
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            outcome.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - such as the panics of Rust's tokenizers; who waits must hear of it
            panic = RuntimeError(f"{type(error).__name__}: {error}")
            panic.__cause__ = error
            outcome.set_exception(panic)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(outcome)
