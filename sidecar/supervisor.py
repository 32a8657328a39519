"""Supervision of the process's tasks: a task that ends unexpectedly stops the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from sidecar.concurrency import background
from sidecar.error_lines import describe, exit_code_of, log_error
from sidecar.errors import ConfigurationError, DeviceError, ModelError, SidecarError
from sidecar.process_exit import EXIT_FAILURE

logger = logging.getLogger(__name__)


def log_failure(error: SidecarError) -> None:
    """Logs the error at CRITICAL."""
    log_error(error, logger)


class Supervisor:
    """Runs the process's tasks. Unsupervised, one that dies inside the lifespan is silent while the server answers.

    `on_failure` is called once, at the first failure, with its reason; it has to stop the server. `report` gets the
    first error that was raised on purpose, before; others are logged here.
    """

    def __init__(self, on_failure: Callable[[str], None], report: Callable[[SidecarError], None] = log_failure) -> None:
        self.failure: str | None = None
        self.exit_code = 0
        self._on_failure = on_failure
        self._report = report
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
        except (ConfigurationError, ModelError, DeviceError) as error:
            self._report(error)
            self._fail(f"{name}: {describe(error)}", exit_code_of(error))
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
