"""Finds tasks that somebody started and nobody awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """Fails if a task that was started inside is still running at the end, and cancels it."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)  # what was just told to end gets its turn
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    for task in left:
        task.cancel()
    assert not left, f"tasks left running: {[task.get_name() for task in left]}"
