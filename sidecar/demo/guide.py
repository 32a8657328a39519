"""Waits until the demo is ready and its rows are embedded, then says what to type next."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from sidecar.demo.steps import Steps
from sidecar.errors import DatabaseError
from sidecar.postgres.operations import open_operations
from sidecar.postgres.status import WatchStatus

_POLL_S = 0.1
_REQUEST_TIMEOUT_S = 2.0


class Guide:
    """A thread beside the server, for the length of the block. `tell_next` is called once the rows are embedded."""

    def __init__(self, steps: Steps, service_url: str, database_url: SecretStr, tell_next: Callable[[], None]) -> None:
        self._steps = steps
        self._service_url = service_url
        self._database_url = database_url
        self._tell_next = tell_next
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._guide, name="guide", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join(_REQUEST_TIMEOUT_S + 1)

    def _guide(self) -> None:
        began = time.monotonic()
        if not self._wait_until("Loading the model", self._is_ready):
            return
        self._steps.tell(f"Model loaded, serving on {self._service_url}", time.monotonic() - began)
        began = time.monotonic()
        try:
            self._tell_of_rows(began)
        except DatabaseError as error:  # the user's own doing, or the end of the demo
            if not self._ending.is_set():
                self._steps.tell(str(error))
        if not self._ending.is_set():
            self._tell_next()

    def _tell_of_rows(self, began: float) -> None:
        with open_operations(self._database_url, lambda *_: None) as operations:
            if not self._wait_until("Embedding the rows", lambda: all(map(_is_settled, operations.status()))):
                return
            watches = operations.status()
        embedded = sum(watch.embedded for watch in watches)
        self._steps.tell(f"All rows embedded: {embedded} vectors are in place", time.monotonic() - began)
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

    def _is_ready(self) -> bool:
        parts = urlsplit(self._service_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_REQUEST_TIMEOUT_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _is_settled(watch: WatchStatus) -> bool:
    """Nothing to wait for: embedded, or left alone for a reason that `state` tells."""
    return not watch.pending or watch.state.startswith(("broken", "paused", "waiting for"))
