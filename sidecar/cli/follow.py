"""`sidecar status --follow`: bars in a terminal, lines of text or JSON elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from sidecar.cli.output import make_console, print_json, shorten
from sidecar.cli.rate import Rate

if TYPE_CHECKING:
    from sidecar.postgres.status import WatchStatus

_INTERVAL_S = 1.0


def follow_progress(read_status: Callable[[], list[WatchStatus]], *, as_json: bool) -> None:
    """Reads and shows the watches every second, until Ctrl-C."""
    rates: dict[int, Rate] = defaultdict(Rate)
    console = make_console()
    bars = _Bars() if console.is_terminal and not as_json else None
    lines = _Lines()
    try:
        while True:
            for watch in read_status():
                rate = rates[watch.watch_id]
                rate.add(time.monotonic(), _done(watch))
                if as_json:
                    print_json({**asdict(watch), "rows_per_s": rate.per_s, "eta_s": rate.eta_s(watch.pending or 0)})
                else:
                    (bars or lines).show(watch, rate)
            time.sleep(_INTERVAL_S)
    except KeyboardInterrupt:
        return
    finally:
        if bars is not None:
            bars.close()


class _Bars:
    """One progress bar per watch, redrawn in place."""

    def __init__(self) -> None:
        self._tasks: dict[int, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TextColumn("{task.fields[state]}", markup=False),
            console=make_console(),
        )
        self._progress.start()

    def show(self, watch: WatchStatus, rate: Rate) -> None:
        if watch.watch_id not in self._tasks:
            self._tasks[watch.watch_id] = self._progress.add_task(_name(watch), rate="", state="")
        self._progress.update(
            self._tasks[watch.watch_id],
            total=watch.rows,
            completed=_done(watch),
            rate=_describe_rate(watch, rate),
            state=shorten(watch.state, 60),
        )

    def close(self) -> None:
        self._progress.stop()


class _Lines:
    """One line per watch whenever it changed."""

    def __init__(self) -> None:
        self._shown: dict[int, tuple[object, ...]] = {}

    def show(self, watch: WatchStatus, rate: Rate) -> None:
        seen = (watch.rows, watch.pending, watch.failed, watch.state)
        if self._shown.get(watch.watch_id) != seen:
            self._shown[watch.watch_id] = seen
            typer.echo(f"{_name(watch)}  {_done(watch)}/{watch.rows}  {_describe_rate(watch, rate)}  {watch.state}")


def _done(watch: WatchStatus) -> int:
    return max((watch.rows or 0) - (watch.pending or 0), 0)


def _name(watch: WatchStatus) -> str:
    return f"{watch.relation}.{watch.target}"


def _describe_rate(watch: WatchStatus, rate: Rate) -> str:
    if not watch.pending:
        return "done"
    eta_s = rate.eta_s(watch.pending)
    left = "" if eta_s is None else f", {timedelta(seconds=round(eta_s))} left"
    return f"{rate.per_s or 0:.0f} rows/s{left}"
