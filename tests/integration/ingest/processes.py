"""Sidecars in processes of their own, which can be killed and share a database as in production."""

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
    """`texts` counts the texts that its device encoded."""

    process: Process
    texts: Counter[str] = field(default_factory=Counter)
    is_holding: bool = False

    async def until_holding(self) -> None:
        """Waits until the device has started on the text that it never finishes."""

        async def holds() -> bool:
            return self.is_holding

        await wait_until_async(holds, "the device to be given the text", START_S)

    async def has_encoded(self) -> bool:
        """Whether its device has encoded a text since `texts` was cleared."""
        return bool(self.texts)

    async def kill(self) -> None:
        """Sends SIGKILL and waits for the end."""
        self.process.kill()
        assert await self.process.wait() == -signal.SIGKILL

    async def terminate(self, timeout_s: float) -> int:
        """Sends SIGTERM. Returns the exit code, which must come within `timeout_s`."""
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
    """Runs a sidecar, killed at the end of the block if it still lives. `checkout` is the tree whose code it runs."""
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
        env=os.environ | {"PYTHONPATH": str(checkout)},  # for its decoders too, ahead of the installed package
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
