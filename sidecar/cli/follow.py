"""`sidecar status --follow`: progress bars in a terminal, lines of text or JSON elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from sidecar.cli.output import make_console, print_json, shorten
from sidecar.errors import SchemaError

if TYPE_CHECKING:
    from sidecar.operations.operations import Operations
    from sidecar.postgres.status import IndexBuild, WatchStatus

_INTERVAL_S = 1.0
_RATE_WINDOW_S = 15.0


def follow_progress(
    operations: Operations, table: str | None, target: str | None, *, exact: bool, until_embedded: bool, as_json: bool
) -> None:
    """Reads and shows the watches every second, until Ctrl-C or, with `until_embedded`, until all work is done.

    Raises SchemaError if that will never be, because a watch is broken or denied.
    """
    rates: dict[int, Rate] = defaultdict(Rate)
    console = make_console()
    view: _Json | _Bars | _Lines = _Json() if as_json else _Bars() if console.is_terminal else _Lines()
    try:
        while True:
            builds = operations.index_builds()
            watches = operations.status(table, target, exact=exact)
            for watch in watches:
                rates[watch.watch_id].add(time.monotonic(), watch.rows_done)
                view.show(watch, rates[watch.watch_id], builds.get(watch.watch_id))
            if until_embedded and all(_is_finished(watch) for watch in watches):
                return
            time.sleep(_INTERVAL_S)
    except KeyboardInterrupt:
        return
    finally:
        view.close()


def _is_finished(watch: WatchStatus) -> bool:
    """True if no row is pending, and the index is built, unless none is wanted or there are no vectors to index."""
    if watch.needs_repair:
        raise SchemaError(f"{watch.name} is {watch.state}")
    if watch.pending or not watch.state.startswith("up to date"):
        return False
    return watch.index_statement is None or not watch.embedded


class Rate:
    """Rows per second over the last 15 s. Times are in seconds, of any monotonic clock.

    Rich estimates a speed too, but starts over whenever the total changes, as it does while rows are inserted.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, at_s: float, done: int) -> None:
        """`done`: rows done at that time; the number may fall."""
        self._samples.append((at_s, done))
        while len(self._samples) > 2 and self._samples[0][0] < at_s - _RATE_WINDOW_S:
            self._samples.popleft()

    @property
    def per_s(self) -> float | None:
        """None before the second sample; never negative."""
        if len(self._samples) < 2:
            return None
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return max((last - first) / (last_s - first_s), 0.0) if last_s > first_s else None

    def eta_s(self, left: int) -> float | None:
        """Seconds until `left` more rows are done; None while the rate is 0 or unknown."""
        if left == 0:
            return 0.0
        return left / self.per_s if self.per_s else None


class _Json:
    """Prints one line per watch every second."""

    def show(self, watch: WatchStatus, rate: Rate, build: IndexBuild | None) -> None:
        progress = {"rows_per_s_now": rate.per_s, "eta_s": rate.eta_s(watch.pending or 0), "index_build": build}
        print_json({**asdict(watch), **progress})

    def close(self) -> None:
        pass


class _Bars:
    """A progress bar per watch, and one per index that is being built, redrawn in place."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TextColumn("{task.fields[state]}", markup=False),
            console=make_console(),
        )
        self._progress.start()

    def show(self, watch: WatchStatus, rate: Rate, build: IndexBuild | None) -> None:
        name, index = watch.name, f"{watch.name} index %"
        self._update(name, watch.rows, watch.rows_done, _describe_rate(watch, rate), shorten(watch.state, 60))
        if build is not None:
            self._update(index, 100, round(build.percent), "", build.phase)
        elif index in self._tasks:
            self._progress.remove_task(self._tasks.pop(index))

    def close(self) -> None:
        self._progress.stop()

    def _update(self, name: str, total: int | None, completed: int, rate: str, state: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, rate="", state="")
        self._progress.update(self._tasks[name], total=total, completed=completed, rate=rate, state=state)


class _Lines:
    """Prints a line when a watch has changed, and when an index build reaches another phase or another tenth."""

    def __init__(self) -> None:
        self._printed: dict[str, tuple[object, ...]] = {}

    def show(self, watch: WatchStatus, rate: Rate, build: IndexBuild | None) -> None:
        name = watch.name
        if self._is_new(name, watch.rows, watch.pending, watch.failed, watch.state):
            typer.echo(f"{name}  {watch.rows_done}/{watch.rows}  {_describe_rate(watch, rate)}  {watch.state}")
        if build is not None and self._is_new(f"{name} index", build.phase, build.percent // 10):
            typer.echo(f"{name}  index: {build.phase} {build.percent:.0f} %")

    def close(self) -> None:
        pass

    def _is_new(self, key: str, *values: object) -> bool:
        is_new = self._printed.get(key) != values
        self._printed[key] = values
        return is_new


def _describe_rate(watch: WatchStatus, rate: Rate) -> str:
    if not watch.pending:
        return f"done, {watch.failed:,} failed" if watch.failed else "done"
    eta_s = rate.eta_s(watch.pending)
    left = "" if eta_s is None else f", {timedelta(seconds=round(eta_s))} left"
    return f"{rate.per_s or 0:.0f} rows/s{left}"
