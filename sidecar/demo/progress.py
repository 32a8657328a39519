"""How far the rows have got: bars in a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.text import Text

from sidecar.demo.steps import Steps
from sidecar.postgres.status import WatchStatus

_LINE_INTERVAL_S = 5.0
_SPEED_PERIOD_S = 10.0


class EmbeddingProgress:
    """Shown for the length of the block."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._began = self._told_at = time.monotonic()
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
        """May be called at any pace."""
        for watch in watches:
            if watch.watch_id not in self._tasks:
                self._tasks[watch.watch_id] = self._bars.add_task(f"{watch.relation}.{watch.target}", total=watch.rows)
            self._bars.update(self._tasks[watch.watch_id], total=watch.rows, completed=_done(watch))
        behind = [watch for watch in watches if watch.pending]
        if self._bars.disable and behind and time.monotonic() >= self._told_at + _LINE_INTERVAL_S:
            self._told_at = time.monotonic()
            self._steps.tell(", ".join(map(self._describe, behind)), self._told_at - self._began)

    def _describe(self, watch: WatchStatus) -> str:
        speed = self._bars.tasks[self._tasks[watch.watch_id]].speed
        rate = f" ({speed:.0f} rows/s)" if speed else ""
        return f"{watch.relation}.{watch.target} {_done(watch):,} of {watch.rows:,}{rate}"


class _SpeedColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} rows/s" if task.speed and not task.finished else "")


def _done(watch: WatchStatus) -> int:
    return max((watch.rows or 0) - (watch.pending or 0), 0)
