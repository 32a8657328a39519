"""Work that is finished even while its task is being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def undisturbed(work: Coroutine[Any, Any, None], name: str) -> None:
    """Awaits `work` to its end. A cancellation that comes meanwhile is passed on afterwards."""
    task = asyncio.create_task(work, name=name)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
