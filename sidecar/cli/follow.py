"""`sidecar status --follow`: bars in a terminal, lines of text or JSON elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from sidecar.cli.output import make_console, print_json, shorten
from sidecar.cli.rate import Rate
from sidecar.errors import SchemaError

if TYPE_CHECKING:
    from sidecar.operations.operations import Operations
    from sidecar.postgres.status import IndexBuild, WatchStatus

_INTERVAL_S = 1.0
_STUCK = ("broken", "denied")


def follow_progress(
    operations: Operations, table: str | None, *, exact: bool, until_embedded: bool, as_json: bool
) -> None:
    """Reads and shows the watches every second, until Ctrl-C, or until nothing is left to do.

    Raises SchemaError where that cannot come, because a watch is broken or denied.
    """
    rates: dict[int, Rate] = defaultdict(Rate)
    console = make_console()
    shown: _Json | _Bars | _Lines = _Json() if as_json else _Bars() if console.is_terminal else _Lines()
    try:
        while True:
            builds = operations.index_builds()
            watches = operations.status(table, exact=exact)
            for watch in watches:
                rates[watch.watch_id].add(time.monotonic(), _done(watch))
                shown.show(watch, rates[watch.watch_id], builds.get(watch.watch_id))
            if until_embedded and all(_is_finished(watch) for watch in watches):
                return
            time.sleep(_INTERVAL_S)
    except KeyboardInterrupt:
        return
    finally:
        shown.close()


def _is_finished(watch: WatchStatus) -> bool:
    """Nothing pending, and the index stands unless none is wanted or nothing is there to index."""
    if watch.state.startswith(_STUCK):
        raise SchemaError(f"{_name(watch)} is {watch.state}")
    if watch.pending or watch.state != "up to date":
        return False
    return watch.index_statement is None or not watch.embedded


class _Json:
    """One line per watch every second."""

    def show(self, watch: WatchStatus, rate: Rate, build: IndexBuild | None) -> None:
        told = {"rows_per_s_now": rate.per_s, "eta_s": rate.eta_s(watch.pending or 0), "index_build": build}
        print_json({**asdict(watch), **told})

    def close(self) -> None:
        pass


class _Bars:
    """One progress bar per watch, and one per index that is being built, redrawn in place."""

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
        name, index = _name(watch), f"{_name(watch)} index %"
        self._update(name, watch.rows, _done(watch), _describe_rate(watch, rate), shorten(watch.state, 60))
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
    """One line per watch whenever it changed, and one when a build enters another phase or tenth."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[object, ...]] = {}

    def show(self, watch: WatchStatus, rate: Rate, build: IndexBuild | None) -> None:
        name = _name(watch)
        if self._is_new(name, watch.rows, watch.pending, watch.failed, watch.state):
            typer.echo(f"{name}  {_done(watch)}/{watch.rows}  {_describe_rate(watch, rate)}  {watch.state}")
        if build is not None and self._is_new(f"{name} index", build.phase, build.percent // 10):
            typer.echo(f"{name}  index: {build.phase} {build.percent:.0f} %")

    def close(self) -> None:
        pass

    def _is_new(self, name: str, *seen: object) -> bool:
        is_new = self._shown.get(name) != seen
        self._shown[name] = seen
        return is_new


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
