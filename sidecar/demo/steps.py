"""What the demo says while it starts: every step with the time it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console

Result = TypeVar("Result")


class Steps:
    """Prints to `console`; in a terminal, a step that is going on is shown too."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def run(self, what: str, work: Callable[[], Result]) -> Result:
        """Does `work`, then prints how long it took and `what` it was."""
        began = time.monotonic()
        with self.console.status(f"{what} …"):
            result = work()
        self.tell(what, time.monotonic() - began)
        return result

    def tell(self, what: str, took_s: float | None = None) -> None:
        """A line of the list; without a time it goes on with the line above."""
        took = "" if took_s is None else f"{took_s:.1f} s"
        self.console.print(f"{took:>7}  {what}", soft_wrap=True)
