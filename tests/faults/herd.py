"""Sidecars that crash and are replaced by others."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from tests.faults.random_users import MoodyEncoder
from tests.integration.ingest.composition import RunningIngest, running_ingest


class Herd:
    """Keeps `size` sidecars running."""

    def __init__(self, database_url: str, rng: random.Random, size: int, **settings: Any) -> None:
        self._database_url = database_url
        self._rng = rng
        self._size = size
        self._settings = {"poll_interval_s": 0.02, "sweep_interval_s": 1, "shutdown_timeout_s": 1, **settings}
        self._members: list[tuple[RunningIngest, AsyncExitStack]] = []
        self.crashes = 0

    async def __aenter__(self) -> Self:
        for _ in range(self._size):
            await self._add()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, stack in self._members:
            await stack.__aexit__(kind, error, trace)

    async def crash_one(self) -> None:
        running, stack = self._members.pop(self._rng.randrange(len(self._members)))
        self.check_alive(running)
        await running.crash()
        await stack.aclose()
        self.crashes += 1
        await self._add()

    def check(self) -> None:
        """Raises the error of a sidecar that ended other than by `crash_one`."""
        for running, _ in self._members:
            self.check_alive(running)

    @staticmethod
    def check_alive(running: RunningIngest) -> None:
        if running.task.done():
            running.task.result()
            raise AssertionError("a sidecar ended without being asked to")

    async def _add(self) -> None:
        stack = AsyncExitStack()
        encoder = MoodyEncoder(self._rng)
        running = await stack.enter_async_context(running_ingest(self._database_url, encoder, **self._settings))
        self._members.append((running, stack))
