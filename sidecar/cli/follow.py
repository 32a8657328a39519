"""`sidecar status --follow`: progress bars in a terminal, lines of text or JSON elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from sidecar.cli.output import echo, make_console, print_json, shorten
from sidecar.cli.tables import is_for_people
from sidecar.errors import DatabaseUnavailable, SchemaError
from sidecar.printable import on_one_line

if TYPE_CHECKING:
    from sidecar.operations.operations import Operations
    from sidecar.postgres.status import IndexBuild, WatchStatus

_INTERVAL_S = 1.0
_RATE_WINDOW_S = 15.0
_WIDE = 120


OpenDatabase: TypeAlias = Callable[[], AbstractContextManager["Operations"]]


@dataclass(frozen=True, slots=True)
class Followed:
    """What is followed, and until when: Ctrl-C or, with `until_embedded`, until all work is done."""

    table: str | None
    target: str | None
    exact: bool
    until_embedded: bool


def follow_progress(open_operations: OpenDatabase, followed: Followed, *, as_json: bool) -> None:
    """Reads and shows the watches every second. Waits for a database that goes away, but not for the first connection.

    Raises SchemaError if the work will never be done, because a watch is broken or denied.
    """
    view = open_view(as_json=as_json)
    following = _Following(followed, view)
    try:
        while True:
            try:
                with open_operations() as operations:
                    following.mark_back()
                    following.run(operations)
                    return
            except DatabaseUnavailable as error:
                if not following.has_read:
                    raise
                following.mark_gone(error)
                time.sleep(_INTERVAL_S)
    except KeyboardInterrupt:
        return
    finally:
        view.close()


class _Following:
    """What has been read and told so far, over several connections."""

    def __init__(self, followed: Followed, view: View) -> None:
        self.has_read = False
        self._followed = followed
        self._view = view
        self._rates: dict[int, Rate] = defaultdict(Rate)
        self._gone_at_s: float | None = None
        self._said_done = False

    def run(self, operations: Operations) -> None:
        """Returns when all is embedded, if that is what is waited for."""
        what = self._followed
        while True:
            builds = operations.index_builds()
            watches = operations.status(what.table, what.target, exact=what.exact)
            self.has_read = True
            for watch in watches:
                self._rates[watch.watch_id].add(time.monotonic(), watch.rows_done)
                self._view.show(watch, self._rates[watch.watch_id], builds.get(watch.watch_id))
            if what.until_embedded and all(_is_finished(watch) for watch in watches):
                return
            self._say_whether_done(watches)
            time.sleep(_INTERVAL_S)

    def mark_gone(self, error: DatabaseUnavailable) -> None:
        if self._gone_at_s is None:
            self._gone_at_s = time.monotonic()
            reason = str(error).partition("\n")[0]
            self._view.say(f"The database is gone since {datetime.now().astimezone():%H:%M:%S}, trying again: {reason}")

    def mark_back(self) -> None:
        if self._gone_at_s is not None:
            self._view.say(
                f"The database is back after {timedelta(seconds=round(time.monotonic() - self._gone_at_s))}."
            )
            self._gone_at_s = None

    def _say_whether_done(self, watches: Sequence[WatchStatus]) -> None:
        """Once, until there is something to do again."""
        is_done = not any(_is_left(watch) for watch in watches)
        if is_done and not self._said_done:
            nothing = "Nothing is left to do" if watches else "Nothing is watched yet"
            self._view.say(f"{nothing}. Changes are shown as they come; Ctrl-C ends this.")
        self._said_done = is_done


def _is_left(watch: WatchStatus) -> bool:
    """True while rows are pending or an index is to be built."""
    if watch.pending or watch.needs_repair:
        return True
    return watch.index_statement is not None and bool(watch.embedded)


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

    def say(self, text: str) -> None:
        typer.echo(text, err=True)

    def close(self) -> None:
        pass


class _Bars:
    """A progress bar per watch, and one per index that is being built, redrawn in place."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskID] = {}
        console = make_console()

        def text(template: str) -> TextColumn:
            return TextColumn(template, markup=False, table_column=Column(overflow="fold"))  # wraps, and cuts nothing

        self._progress = Progress(
            text("{task.description}"),
            BarColumn(bar_width=40 if console.width >= _WIDE else 8),
            MofNCompleteColumn(),
            text("{task.fields[rate]}"),
            text("{task.fields[state]}"),
            console=console,
        )
        self._progress.start()

    def show(self, watch: WatchStatus, rate: Rate, build: IndexBuild | None) -> None:
        name = on_one_line(watch.name)
        index = f"{name} index %"
        self._update(name, watch.rows, watch.rows_done, _describe_rate(watch, rate), shorten(watch.state, 200))
        if build is not None:
            self._update(index, 100, round(build.percent), "", build.phase)
        elif index in self._tasks:
            self._progress.remove_task(self._tasks.pop(index))

    def say(self, text: str) -> None:
        self._progress.console.print(text)

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
        name = on_one_line(watch.name)
        if self._is_new(name, watch.rows, watch.pending, watch.failed, watch.state):
            echo(f"{name}  {watch.rows_done}/{watch.rows}  {_describe_rate(watch, rate)}  {watch.state}")
        if build is not None and self._is_new(f"{name} index", build.phase, build.percent // 10):
            echo(f"{name}  index: {build.phase} {build.percent:.0f} %")

    def say(self, text: str) -> None:
        typer.echo(text)

    def close(self) -> None:
        pass

    def _is_new(self, key: str, *values: object) -> bool:
        is_new = self._printed.get(key) != values
        self._printed[key] = values
        return is_new


def open_view(*, as_json: bool) -> View:
    """Shows progress on stdout: as JSON, as bars on a terminal, else as lines. To be closed."""
    return _Json() if as_json else _Bars() if is_for_people() else _Lines()


View: TypeAlias = _Json | _Bars | _Lines


def _describe_rate(watch: WatchStatus, rate: Rate) -> str:
    if not watch.pending:
        return f"done, {watch.failed:,} failed" if watch.failed else "done"
    eta_s = rate.eta_s(watch.pending)
    left = "" if eta_s is None else f", {timedelta(seconds=round(eta_s))} left"
    return f"{rate.per_s or 0:.0f} rows/s{left}"
