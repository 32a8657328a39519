"""Says when search answers and what to type then, and shows how the rows fill in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from sidecar.demo.directory import DemoDirectory
from sidecar.demo.outdated import reembed_outdated
from sidecar.demo.progress import EmbeddingProgress
from sidecar.demo.service import REQUEST_TIMEOUT_S, RunningService
from sidecar.demo.steps import Steps
from sidecar.errors import DatabaseError
from sidecar.operations.operations import Operations, open_operations
from sidecar.postgres.status import WatchStatus

_POLL_S = 0.2
_PROGRESS_INTERVAL_S = 0.5
_ENOUGH_ROWS = 256  # all faces and gestures: what the first search asks for is among them
_MEANWHILE = "\nEmbedding the rows: names, and every picture in several views; faces come first, flags last."
_FAREWELL = "Ctrl-C here ends everything; the data stays."


class Guide:
    """A thread beside the server, for the length of the block. `tell_next` is called once search answers."""

    def __init__(
        self, steps: Steps, directory: DemoDirectory, service: RunningService, url: str, tell_next: Callable[[], None]
    ) -> None:
        self._steps = steps
        self._directory = directory
        self._service = service
        self._url = url
        self._tell_next = tell_next
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._guide, name="guide", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join(REQUEST_TIMEOUT_S + 1)

    def _guide(self) -> None:
        began = time.monotonic()
        if not self._wait_until("Loading the model", self._service.is_ready):
            return
        self._steps.tell(f"Model loaded, serving on {self._service.url}", time.monotonic() - began)
        try:
            self._tell_of_outdated()
            with open_operations(SecretStr(self._url), lambda *_: None) as operations:
                self._guide_search(operations)
        except DatabaseError as error:  # the user's own doing, or the end of the demo
            if not self._ending.is_set():
                self._steps.tell(str(error))

    def _guide_search(self, operations: Operations) -> None:
        watches = operations.status()
        if all(map(_is_settled, watches)):
            self._tell_next()
        else:
            self._steps.console.print(_MEANWHILE, soft_wrap=True)
            self._follow_rows(operations)
        if not self._ending.is_set():
            self._steps.console.print(f"\n{_FAREWELL}")

    def _follow_rows(self, operations: Operations) -> None:
        """Until all are embedded, or the demo ends."""
        began, answers = time.monotonic(), False
        with EmbeddingProgress(self._steps) as progress:
            while not self._ending.wait(_PROGRESS_INTERVAL_S):
                watches = operations.status()
                progress.show(watches)
                if not answers and all(map(_can_be_searched, watches)):
                    self._tell_next()
                    answers = True
                if all(map(_is_settled, watches)):
                    self._tell_of_vectors(watches, time.monotonic() - began)
                    return

    def _tell_of_outdated(self) -> None:
        fingerprint = self._service.fingerprint()
        again = [] if fingerprint is None else reembed_outdated(self._url, fingerprint, self._directory)
        if again:
            self._steps.tell(f"{', '.join(again)}: from an earlier demo's model, and embedded again with this one")

    def _tell_of_vectors(self, watches: Sequence[WatchStatus], took_s: float) -> None:
        so_far = "So far" if any(watch.pending for watch in watches) else "All rows embedded"
        self._steps.tell(f"{so_far}: {sum(watch.embedded for watch in watches):,} vectors", took_s)
        for watch in watches:
            if watch.pending:
                self._steps.tell(f"{watch.relation}.{watch.target} is not kept up to date: {watch.state}")

    def _wait_until(self, what: str, condition: Callable[[], bool]) -> bool:
        """False if the demo ends first."""
        with self._steps.console.status(f"{what} …"):
            while not self._ending.is_set():
                if condition():
                    return True
                self._ending.wait(_POLL_S)
        return False


def _can_be_searched(watch: WatchStatus) -> bool:
    return watch.embedded >= _ENOUGH_ROWS or _is_settled(watch)


def _is_settled(watch: WatchStatus) -> bool:
    """Nothing to wait for: embedded, or left alone for a reason that `state` tells."""
    return not watch.pending or watch.state.startswith(("broken", "denied", "paused", "waiting for"))
