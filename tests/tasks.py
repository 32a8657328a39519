"""Finds tasks that were started and not awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """Fails if a task started in the block is still running at its end, and cancels it."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)  # lets tasks that were just cancelled end
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    for task in left:
        task.cancel()
    assert not left, f"tasks left running: {[task.get_name() for task in left]}"
