"""The thread that accompanies a starting demo: progress, the commands to type next, and vectors of an earlier demo."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import psycopg
from pydantic import SecretStr

from sidecar.demo.directory import DemoDirectory
from sidecar.demo.example import statement
from sidecar.demo.progress import EmbeddingProgress, Steps
from sidecar.demo.service import REQUEST_TIMEOUT_S, RunningService
from sidecar.errors import DatabaseError
from sidecar.model.checkpoints.local_directory import DEMO_MODEL_ID, find_local_directory
from sidecar.operations.operations import Operations, open_operations
from sidecar.postgres.status import WatchStatus

_POLL_S = 0.2
_PROGRESS_INTERVAL_S = 0.5
_ENOUGH_ROWS = 256  # all faces and gestures: the results of the first suggested search are among them
_EMBEDDING = "\nEmbedding the rows: names, and every picture in several views; faces come first, flags last."
_FAREWELL = "Ctrl-C here ends everything; the data stays."


class Guide:
    """Runs beside the server, for the length of the block: waits for the model, then follows the rows.

    Calls `print_commands` once searches find something.
    """

    def __init__(
        self,
        steps: Steps,
        directory: DemoDirectory,
        service: RunningService,
        url: str,
        print_commands: Callable[[], None],
    ) -> None:
        self._steps = steps
        self._directory = directory
        self._service = service
        self._url = url
        self._print_commands = print_commands
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guide", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join(REQUEST_TIMEOUT_S + 1)

    def _run(self) -> None:
        began = time.monotonic()
        if not self._wait_until("Loading the model", self._service.is_ready):
            return
        self._steps.print(f"Model loaded, serving on {self._service.url}", time.monotonic() - began)
        try:
            self._reembed_outdated()
            with open_operations(SecretStr(self._url), lambda *_: None) as operations:
                self._follow(operations)
        except DatabaseError as error:  # caused by the user, or by the end of the demo
            if not self._ending.is_set():
                self._steps.print(str(error))

    def _follow(self, operations: Operations) -> None:
        watches = operations.status()
        if all(map(_is_settled, watches)):
            self._print_commands()
        else:
            self._steps.console.print(_EMBEDDING, soft_wrap=True)
            self._follow_rows(operations)
        if not self._ending.is_set():
            self._steps.console.print(f"\n{_FAREWELL}")

    def _follow_rows(self, operations: Operations) -> None:
        """Shows progress until all rows are embedded, or the demo ends."""
        began, can_search = time.monotonic(), False
        with EmbeddingProgress(self._steps) as progress:
            while not self._ending.wait(_PROGRESS_INTERVAL_S):
                watches = operations.status()
                progress.show(watches)
                if not can_search and all(map(_can_be_searched, watches)):
                    self._print_commands()
                    can_search = True
                if all(map(_is_settled, watches)):
                    self._print_result(watches, time.monotonic() - began)
                    return

    def _print_result(self, watches: Sequence[WatchStatus], took_s: float) -> None:
        so_far = "So far" if any(watch.pending for watch in watches) else "All rows embedded"
        self._steps.print(f"{so_far}: {sum(watch.embedded for watch in watches):,} vectors", took_s)
        for watch in watches:
            if watch.pending:
                self._steps.print(f"{watch.name} is not kept up to date: {watch.state}")

    def _reembed_outdated(self) -> None:
        fingerprint = self._service.fingerprint()
        targets = [] if fingerprint is None else reembed_outdated(self._url, fingerprint, self._directory)
        if targets:
            self._steps.print(f"{', '.join(targets)}: from an earlier demo's model, and embedded again with this one")

    def _wait_until(self, step: str, condition: Callable[[], bool]) -> bool:
        """False if the demo ends first."""
        with self._steps.console.status(f"{step} …"):
            while not self._ending.is_set():
                if condition():
                    return True
                self._ending.wait(_POLL_S)
        return False


def _can_be_searched(watch: WatchStatus) -> bool:
    return watch.embedded >= _ENOUGH_ROWS or _is_settled(watch)


def _is_settled(watch: WatchStatus) -> bool:
    """Nothing to wait for: no row is pending, or no running sidecar may embed the rows."""
    return not watch.pending or watch.is_blocked


def reembed_outdated(url: str, fingerprint: str, directory: DemoDirectory) -> list[str]:
    """Re-embeds watches whose vectors come from an earlier demo's model, and deletes that model from `directory`.

    Such a watch would wait for its model forever. Watches of models that the user chose do not change. Returns the
    `table.target` of each watch that is embedded again.
    """
    targets = []
    with psycopg.connect(url) as connection:
        for table, target, model in connection.execute(statement("watches_of_other_models"), (fingerprint,)).fetchall():
            if _is_demo_model(model, directory):
                connection.execute(statement("reembed"), (table, target))
                targets.append(f"{table}.{target}")
    if directory.earlier_model.exists():
        shutil.rmtree(directory.earlier_model)
    return targets


def _is_demo_model(model_id: str, directory: DemoDirectory) -> bool:
    """True for models of earlier demos too, even if the directory has been moved since, with the model in it."""
    folder = find_local_directory(model_id)
    if folder is None:
        return False
    return model_id == DEMO_MODEL_ID or folder.parts[-2:] == directory.earlier_model.parts[-2:]
