"""Bounded waits on an observable condition, in place of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_POLL_S = 0.01
PATIENCE_S = 30.0  # of a machine with other things to do; costs nothing where the condition comes true


def wait_until(condition: Callable[[], object], what: str | Callable[[], str], timeout_s: float = PATIENCE_S) -> None:
    """Returns once `condition()` is true. After `timeout_s` the test fails and names `what` was awaited."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, _describe(what, timeout_s)
        time.sleep(_POLL_S)


async def wait_until_async(
    condition: Callable[[], Awaitable[object]], what: str | Callable[[], str], timeout_s: float = PATIENCE_S
) -> None:
    """As `wait_until`, for a condition that is awaited."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, _describe(what, timeout_s)
        await asyncio.sleep(_POLL_S)


def _describe(what: str | Callable[[], str], timeout_s: float) -> str:
    return f"waited {timeout_s:g} s in vain: {what if isinstance(what, str) else what()}"
