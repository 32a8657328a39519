"""Runs coroutines side by side for as long as a block lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def side_by_side(coroutines: Iterable[Coroutine[Any, Any, T]], name: str) -> AsyncIterator[list[asyncio.Task[T]]]:
    """The tasks, in order. However the block ends, none of them outlives it. Errors come out as they are, not in
    groups.
    """
    tasks = [asyncio.create_task(c, name=f"{name}-{i}") for i, c in enumerate(coroutines)]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
