"""Bounded waits for an observable condition, instead of sleeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_POLL_S = 0.01
PATIENCE_S = 30.0  # enough on a loaded machine; costs nothing if the condition becomes true


def wait_until(condition: Callable[[], object], what: str | Callable[[], str], timeout_s: float = PATIENCE_S) -> None:
    """Returns once `condition()` is true. After `timeout_s` the test fails with `what` it waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, _describe(what, timeout_s)
        time.sleep(_POLL_S)


async def wait_until_async(
    condition: Callable[[], Awaitable[object]], what: str | Callable[[], str], timeout_s: float = PATIENCE_S
) -> None:
    """`wait_until` for an asynchronous condition."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, _describe(what, timeout_s)
        await asyncio.sleep(_POLL_S)


def _describe(what: str | Callable[[], str], timeout_s: float) -> str:
    return f"waited {timeout_s:g} s in vain: {what if isinstance(what, str) else what()}"
