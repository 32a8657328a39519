"""Supervision of the process's tasks: a task that ends unexpectedly stops the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from sidecar.concurrency import background
from sidecar.errors import ConfigurationError, DeviceError, ModelError
from sidecar.process_exit import EXIT_CONFIGURATION, EXIT_FAILURE

logger = logging.getLogger(__name__)


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
