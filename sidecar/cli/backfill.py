"""`sidecar backfill`"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from sidecar.cli.database import find_database_url, open_database
from sidecar.cli.errors import warn
from sidecar.cli.follow import OpenDatabase, Rate, open_view
from sidecar.cli.options import DatabaseUrl, Json, OptionalTable, Target
from sidecar.cli.output import echo
from sidecar.cli.ray_options import Address, Cpus, Gpus, needing_ray
from sidecar.cli.status import name_as_arguments
from sidecar.cli.tables import is_for_people
from sidecar.errors import DatabaseUnavailable, SidecarError

if TYPE_CHECKING:
    from sidecar.config import Settings
    from sidecar.operations.operations import Operations
    from sidecar.postgres.status import WatchStatus

_INTERVAL_S, _INTERVAL_OF_LINES_S = 1.0, 10.0
_PATIENCE_S = 300.0
_UNDER_WAY = ("backfilling", "moving vectors", "clearing old vectors", "verifying")
_INTERRUPTED = 130


class BackfillEnded(SidecarError):
    """Rows are still pending, and nothing comes of waiting."""


class Workers(Protocol):
    """What embeds the rows."""

    @property
    def is_working(self) -> bool:
        """Whether any of them has loaded its model."""
        ...

    def check(self) -> list[str]:
        """What has changed since the last call, a line each. Raises SidecarError if none can go on."""
        ...

    def stop(self) -> None:
        """Gives back what is in flight."""
        ...


def backfill(  # noqa: PLR0913 - one parameter for every option of the command
    table: OptionalTable = None,
    target: Target = None,
    on_ray: Annotated[
        bool, typer.Option("--ray", help="Use the GPUs of a cluster of Ray, not one process here.")
    ] = False,
    address: Address = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=1000,
            help="With --ray: processes. Default: as many as the cluster has room for, also when it grows.",
            show_default=False,
        ),
    ] = None,
    gpus_per_worker: Gpus = None,
    cpus_per_worker: Cpus = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Embed rows until none is pending, then end.

    For a cron job, or a large table on a cluster. It can be stopped and run again at any time, also beside running
    sidecars. With TABLE it ends once that is done; its processes embed rows of other watches meanwhile. Rows that fail
    do not stop it.

    Exit codes: 0 nothing is pending, 1 rows are pending that cannot be embedded now, 130 interrupted.

    \b
    Examples:
      sidecar backfill
      sidecar backfill products --ray --address 10.0.0.5:6379
    """
    if not on_ray and any(value is not None for value in (address, workers, gpus_per_worker, cpus_per_worker)):
        raise typer.BadParameter("--address, --workers, --gpus-per-worker and --cpus-per-worker go with --ray")
    settings = _load_settings(database_url)
    with open_database(database_url) as operations:
        watches = operations.status(table, target)
    if all(_is_done(watch) for watch in watches):
        if as_json:
            view = open_view(as_json=True)
            for watch in watches:
                view.show(watch, Rate(), None)
        _print_end(watches, {}, 0.0, as_json=as_json)
        return
    _refuse_blocked([watch for watch in watches if not _is_done(watch)])
    run = BackfillRun(database_url, table, target, as_json=as_json)
    if not on_ray:
        from sidecar.backfill import LocalWorker
        from sidecar.telemetry.logs.configuration import configure_logging

        configure_logging(settings)
        run.until_done(LocalWorker(settings))
        return
    with needing_ray():
        from sidecar.ray.backfill import RayWorkers
        from sidecar.ray.cluster import connected
        from sidecar.ray.options import read_options

    options = read_options({"gpus_per_replica": gpus_per_worker, "cpus_per_replica": cpus_per_worker})
    with connected(address, shows_logs=False) as cluster:
        run.say(str(cluster))
        run.until_done(RayWorkers(settings, options, workers))


def _load_settings(database_url: str | None) -> Settings:
    """Raises ConfigurationError. Logs warnings only, unless LOG_LEVEL is set: progress is shown instead."""
    from sidecar.config import adopt_variables, load_settings

    if database_url is not None:  # for processes elsewhere, too
        adopt_variables({"DATABASE_URL": database_url, "DATABASE_URL_FILE": ""})
    find_database_url(None)
    settings = load_settings()
    quiet = {} if "log_level" in settings.model_fields_set else {"log_level": "WARNING"}
    return settings.model_copy(update=quiet)


class BackfillRun:
    """Shows progress, and decides when to end."""

    def __init__(self, database_url: str | None, table: str | None, target: str | None, *, as_json: bool) -> None:
        self._open: OpenDatabase = partial(open_database, database_url)
        self._table = table
        self._target = target
        self._as_json = as_json
        self._view = open_view(as_json=as_json)
        self._interval_s = _INTERVAL_S if as_json or is_for_people() else _INTERVAL_OF_LINES_S
        self._rates: dict[int, Rate] = defaultdict(Rate)
        self._pending_at_start: dict[int, int] = {}
        self._began_s = time.monotonic()
        self._progress = _Progress()
        self._watches: Sequence[WatchStatus] = ()

    def say(self, text: str) -> None:
        """Shows a line beside the progress."""
        self._view.say(text)

    def until_done(self, workers: Workers) -> None:
        """Waits until nothing is pending, and stops the workers. Raises SidecarError if that will not be."""
        try:
            with _closing(workers, self):
                self._wait(workers)
        except KeyboardInterrupt:
            pending = sum(watch.pending or 0 for watch in self._watches)
            typer.echo(f"Stopped: {pending:,} rows are pending. The same command goes on.", err=True)
            raise typer.Exit(_INTERRUPTED) from None
        self._view.close()
        _print_end(self._watches, self._pending_at_start, time.monotonic() - self._began_s, as_json=self._as_json)

    def close(self) -> None:
        self._view.close()

    def _wait(self, workers: Workers) -> None:
        while True:
            for line in workers.check():
                self.say(line)
            try:
                with self._open() as operations:
                    if self._is_over(operations, workers):
                        return
            except DatabaseUnavailable as error:
                self.say(f"The database is gone, trying again: {str(error).partition(chr(10))[0]}")
            self._sleep(workers)

    def _sleep(self, workers: Workers) -> None:
        """Until the next reading; a worker's failure is seen within a second."""
        until_s = time.monotonic() + self._interval_s
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _INTERVAL_S))
            for line in workers.check():
                self.say(line)

    def _is_over(self, operations: Operations, workers: Workers) -> bool:
        self._watches = watches = operations.status(self._table, self._target)
        now = time.monotonic()
        for watch in watches:
            self._pending_at_start.setdefault(watch.watch_id, watch.pending or 0)
            self._rates[watch.watch_id].add(now, watch.rows_done)
            self._view.show(watch, self._rates[watch.watch_id], None)
        left = [watch for watch in watches if not _is_done(watch)]
        if not left:
            return True
        if workers.is_working:
            self._progress.check([(w.watch_id, w.pending, w.embedded, w.failed) for w in watches], left)
        return False


class _Progress:
    """Raises BackfillEnded once it is clear that what is left will not be done."""

    def __init__(self) -> None:
        self._seen: object = None
        self._since_s = time.monotonic()

    def check(self, counts: object, left: Sequence[WatchStatus]) -> None:
        """`left`: the watches that are not done. Workers are there, but `sidecar.status` learns of them in a moment."""
        now = time.monotonic()
        if counts != self._seen:
            self._seen, self._since_s = counts, now
        waited_s = now - self._since_s
        _refuse_blocked(left)
        if waited_s >= _INTERVAL_S * 5 and all(watch.is_blocked for watch in left):
            raise _blocked(left)
        if waited_s >= _PATIENCE_S:
            rows = sum(watch.pending or 0 for watch in left)
            hint = (
                "HINT: They may be locked, or wait to be tried again: sidecar status shows more. Run this again later."
            )
            raise BackfillEnded(f"{rows:,} rows are pending, and none was done for {_PATIENCE_S:.0f} s.\n{hint}")


def _refuse_blocked(left: Sequence[WatchStatus]) -> None:
    """Raises BackfillEnded if no worker whatever could embed what is left."""
    if all(watch.state == "paused" or watch.needs_repair for watch in left):
        raise _blocked(left)


def _blocked(left: Sequence[WatchStatus]) -> BackfillEnded:
    states = "; ".join(f"{watch.name} is {watch.state}" for watch in left)
    return BackfillEnded(f"rows are pending that cannot be embedded: {states}")


@contextmanager
def _closing(workers: Workers, run: BackfillRun) -> Iterator[None]:
    try:
        yield
    finally:
        workers.stop()
        run.close()


def _is_done(watch: WatchStatus) -> bool:
    return not watch.pending and not watch.needs_repair and not watch.state.startswith(_UNDER_WAY)


def _print_end(
    watches: Sequence[WatchStatus], pending_before: dict[int, int], seconds: float, *, as_json: bool
) -> None:
    if not as_json:
        if not pending_before:
            echo(
                "Nothing is pending."
                if watches
                else "Nothing is watched. Start with: sidecar watch TABLE --source COLUMN"
            )
        for watch in watches:
            if rows := pending_before.get(watch.watch_id, 0):
                rate = f", {rows / seconds:,.0f} rows/s" if seconds > 1 else ""
                echo(f"{watch.name}: {rows:,} rows in {timedelta(seconds=round(seconds))}{rate}")
    for watch in watches:
        if watch.failed:
            failed = "1 row" if watch.failed == 1 else f"{watch.failed:,} rows"
            warn(f"{watch.name}: {failed} cannot be embedded", f"sidecar failures {name_as_arguments(watch)}")
        if watch.index_statement is not None and watch.embedded:
            warn(
                f"{watch.name}: the index is not built yet",
                "A running sidecar builds it, or: " + watch.index_statement.replace("\n", " "),
            )
