"""Supervision of the process's tasks: a task that ends unexpectedly stops the process."""

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
    """Runs the process's tasks. Unsupervised, one that dies inside the lifespan is silent while the server answers.

    `on_failure` is called once, at the first failure, with its reason; it has to stop the server.
    """

    def __init__(self, on_failure: Callable[[str], None]) -> None:
        self.failure: str | None = None
        self.exit_code = 0
        self._on_failure = on_failure
        self.stopping = False

    def stop(self) -> None:
        """The process is stopping: from now on, tasks may end."""
        self.stopping = True

    @asynccontextmanager
    async def running(self, name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
        """Runs `work` as a supervised task for the length of the block, then cancels and awaits it."""
        async with background(self._supervise(name, work), name) as task:
            yield task

    async def _supervise(self, name: str, work: Coroutine[Any, Any, None]) -> None:
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
    """Exits at once, even with threads still running, such as one that hangs in the device's driver.

    The interpreter's own exit waits for some threads, runs handlers of libraries, which may wait for the device, and
    takes seconds to free what was loaded, so that no deadline could be kept.
    """
    others = (thread for thread in threading.enumerate() if thread is not threading.current_thread())
    if ours := {thread.name for thread in others if thread.name != DEADLINE_THREAD}:
        logger.warning("Ended without waiting for %s.", ", ".join(sorted(ours)))
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(exit_code)


async def in_daemon_thread(name: str, work: Callable[[], Result]) -> Result:
    """The result of blocking `work`, run in a thread that does not keep the process from exiting.

    Returns at once when cancelled; the thread continues, and its result is dropped.
    """
    outcome: Future[Result] = Future()

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
