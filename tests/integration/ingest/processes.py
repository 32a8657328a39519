"""Sidecars as processes of their own: they can be killed, and share a database as they would in earnest."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.ingest.composition import DIMENSIONS
from tests.waiting import wait_until_async

START_S = 60.0
CHECKOUT = Path(__file__).parents[3]


@dataclass(slots=True)
class SidecarProcess:
    """`texts` counts what its device was given."""

    process: Process
    texts: Counter[str] = field(default_factory=Counter)
    is_holding: bool = False

    async def until_holding(self) -> None:
        """Until the device has begun with the text that it never finishes."""

        async def holds() -> bool:
            return self.is_holding

        await wait_until_async(holds, "the device to be given the text", START_S)

    async def has_encoded(self) -> bool:
        """Whether its device was given a text since `texts` was cleared."""
        return bool(self.texts)

    async def kill(self) -> None:
        """kill -9"""
        self.process.kill()
        assert await self.process.wait() == -signal.SIGKILL

    async def terminate(self, timeout_s: float) -> int:
        """SIGTERM; returns the exit code, which must come within `timeout_s`."""
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), timeout_s)

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            message = json.loads(line)
            if message["event"] == "holding":
                self.is_holding = True
            else:
                self.texts.update(message["texts"])


@asynccontextmanager
async def sidecar_process(
    database_url: str,
    *,
    model_id: str = "hash",
    view_ms: float = 0.0,
    hold: str | None = None,
    dimensions: int = DIMENSIONS,
    checkout: Path = CHECKOUT,
    **settings: Any,
) -> AsyncIterator[SidecarProcess]:
    """Killed at the end of the block if it still lives. `checkout`: whose code it runs."""
    settings = {
        "database_url": database_url,
        "bind_port": _free_port(),
        "poll_interval_s": 0.2,
        "decode_processes": 1,
        **settings,
    }
    device = {"model_id": model_id, "view_ms": view_ms, "hold": hold, "dimensions": dimensions}
    arguments = json.dumps({"settings": settings, **device})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.ingest.sidecar_process", arguments),
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},  # for its decoders too, before the package that is installed
        stdout=PIPE,
    )
    running = SidecarProcess(process)
    reader = asyncio.create_task(running.read(), name="read-sidecar")
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reader


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
