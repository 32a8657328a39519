"""Output of the demo while it starts: a line per step, and the progress of embedding the rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.text import Text

from sidecar.postgres.status import WatchStatus

Result = TypeVar("Result")

_LINE_INTERVAL_S = 5.0
_SPEED_PERIOD_S = 10.0


class Steps:
    """A list of steps with their durations on `console`. In a terminal, the current step is shown while it runs."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def run(self, step: str, work: Callable[[], Result]) -> Result:
        """Does `work`, then prints the step with its duration."""
        began = time.monotonic()
        with self.console.status(f"{step} …"):
            result = work()
        self.print(step, time.monotonic() - began)
        return result

    def print(self, text: str, took_s: float | None = None) -> None:
        """Prints a line of the list. Without a duration, it belongs to the line above."""
        took = "" if took_s is None else f"{took_s:.1f} s"
        self.console.print(f"{took:>7}  {text}", soft_wrap=True)


class EmbeddingProgress:
    """Progress of the watches for the length of the block: bars in a terminal, a line every 5 s elsewhere."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._began = self._printed_at = time.monotonic()
        self._tasks: dict[int, TaskID] = {}
        self._bars = Progress(
            TextColumn(" " * 7),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _SpeedColumn(),
            TimeLeftColumn(compact=True),
            console=steps.console,
            transient=True,
            speed_estimate_period=_SPEED_PERIOD_S,
            disable=not steps.console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def show(self, watches: Sequence[WatchStatus]) -> None:
        """Updates the bars, or prints a line if one is due. May be called at any rate."""
        for watch in watches:
            if watch.watch_id not in self._tasks:
                self._tasks[watch.watch_id] = self._bars.add_task(watch.name, total=watch.rows)
            self._bars.update(self._tasks[watch.watch_id], total=watch.rows, completed=watch.rows_done)
        pending = [watch for watch in watches if watch.pending]
        if self._bars.disable and pending and time.monotonic() >= self._printed_at + _LINE_INTERVAL_S:
            self._printed_at = time.monotonic()
            self._steps.print(", ".join(map(self._describe, pending)), self._printed_at - self._began)

    def _describe(self, watch: WatchStatus) -> str:
        speed = self._bars.tasks[self._tasks[watch.watch_id]].speed
        rate = f" ({speed:.0f} rows/s)" if speed else ""
        return f"{watch.name} {watch.rows_done:,} of {watch.rows:,}{rate}"


class _SpeedColumn(ProgressColumn):
    """The rows per second of a bar that still moves."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} rows/s" if task.speed and not task.finished else "")
