"""Pools of real decoder processes, and functions that observe the processes from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import psutil
from PIL import Image

from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.decoder.settings import DecoderSettings
from sidecar.pictures.views.settings import ViewSettings
from sidecar.telemetry.telemetry import Telemetry
from tests.unit.pictures.pictures import encode
from tests.waiting import wait_until_async

VIEWS = ViewSettings(
    view_size=96,
    enable_tta=True,
    crop_size=96,
    scale_factors=(1.0, 1.35),
    max_scaled_dim=384,
    panorama_max_ratio=2.6,
)
SETTINGS = DecoderSettings(
    views=VIEWS,
    processes=1,
    timeout_s=30.0,
    max_image_bytes=1 << 20,
    max_image_pixels=100_000_000,
    memory_bytes=2 << 30,
)


@asynccontextmanager
async def running_pool(
    settings: DecoderSettings = SETTINGS, processes: int = 1, telemetry: Telemetry | None = None
) -> AsyncIterator[DecoderPool]:
    pool = DecoderPool(replace(settings, processes=processes), telemetry)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def children() -> list[psutil.Process]:
    """The living decoder processes among this process's children; the tests' Postgres is another child."""
    return [child for child in psutil.Process().children() if is_alive(child) and is_decoder(child)]


def is_decoder(process: psutil.Process) -> bool:
    try:
        return any("sidecar.pictures.decoder.child" in argument for argument in process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def only_child() -> psutil.Process:
    [child] = children()
    return child


def make_slow_picture() -> bytes:
    """A small file with 98 million pixels, which takes about a second and 400 MB to decode."""
    return encode(Image.new("1", (9900, 9900)), "PNG")


async def wait_until_busy(child: psutil.Process) -> None:
    """Waits until the child has used some hundredths of a second of CPU time."""
    idle_s = child.cpu_times().user

    async def has_worked() -> bool:
        return bool(child.cpu_times().user - idle_s > 0.05)

    await wait_until_async(has_worked, "a child at work")
