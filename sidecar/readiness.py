"""Whether the process can embed queries, and why not: the state behind /readyz and every 503 of an endpoint.

LOADING     serving already: /livez answers, /readyz and the embedding endpoints say 503 `model_loading`
READY       queries are embedded; with DATABASE_URL and INGEST=1, rows too
UNFIT       the model is loaded but failed its self-test: /readyz stays at 503 with the reason, the process lives
TROUBLE     no device works, all fail or hang (sidecar/batching/device_health.py): /readyz and the embedding endpoints
            say 503 `device_failed` with the reason. One recovers, and that leads back to the state before, or all are
            given up: FAILED. While one of several works the state is READY, and /readyz names those that are out
STOPPING    asked to: ingest claims no more and finishes or gives back what it has; requests in flight are answered
FAILED      the model cannot be loaded, all devices were given up, or a task died: /readyz says so, and the process
            ends, with an exit code that is not 0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from sidecar.errors import SidecarError

_LOADING_RETRY_S = 5.0
_DEVICE_RETRY_S = 1.0


class State(StrEnum):
    """Values are the error codes of the 503 that a request gets in that state."""

    LOADING = "model_loading"
    READY = "ready"
    UNFIT = "model_failed"
    TROUBLE = "device_failed"
    STOPPING = "stopping"
    FAILED = "failed"


# TROUBLE is in none of them: DeviceHealth enters and leaves it, over LOADING and READY.
_TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.LOADING: frozenset({State.READY, State.UNFIT, State.STOPPING, State.FAILED}),
    State.READY: frozenset({State.STOPPING, State.FAILED}),
    State.UNFIT: frozenset({State.STOPPING, State.FAILED}),
    State.STOPPING: frozenset({State.FAILED}),
    State.FAILED: frozenset(),
}


class NotReady(SidecarError):
    """Queries cannot be embedded. `code` is the value of the State that says why."""

    def __init__(self, state: State, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = state.value
        self.message = message
        self.retry_after_s = retry_after_s


class Readiness:
    """The state of the process. `read_trouble` returns what is wrong with the devices, None while one works."""

    def __init__(self, read_trouble: Callable[[], str | None]) -> None:
        self._read_trouble = read_trouble
        self._state = State.LOADING
        self._reason = ""

    @property
    def state(self) -> State:
        if self._state in {State.LOADING, State.READY} and self._read_trouble() is not None:
            return State.TROUBLE
        return self._state

    @property
    def has_started(self) -> bool:
        """Whether the start is over, with a model that is loaded or with a failure."""
        return self._state is not State.LOADING

    def mark_ready(self) -> None:
        """The model is loaded and can be used."""
        self._enter(State.READY)

    def mark_unfit(self, reason: str) -> None:
        """The model is loaded and must not be used."""
        self._enter(State.UNFIT, reason)

    def stop(self) -> None:
        """The process was asked to stop. Ignored once it has failed."""
        self._enter(State.STOPPING)

    def fail(self, reason: str) -> None:
        """The process is ending by itself. The first reason stays."""
        self._enter(State.FAILED, reason)

    def check(self) -> None:
        """Raises NotReady unless queries can be embedded and every task is alive. Does not look at the database."""
        if (error := self.error()) is not None:
            raise error

    def check_device(self) -> None:
        """Raises NotReady while the device fails or hangs, in whatever state: what is sent to it would wait in vain."""
        if (error := self._device_error()) is not None:
            raise error

    def error(self) -> NotReady | None:
        """The error that `check` raises; None when ready."""
        match self._state:
            case State.FAILED:
                return NotReady(State.FAILED, f"The process is ending: {self._reason}")
            case State.STOPPING:
                return NotReady(State.STOPPING, "The process is shutting down.")
            case State.UNFIT:
                return NotReady(State.UNFIT, self._reason)
        if (device := self._device_error()) is not None:
            return device
        if self._state is State.LOADING:
            return NotReady(State.LOADING, "The model is loading. Try again in a moment.", _LOADING_RETRY_S)
        return None

    def _device_error(self) -> NotReady | None:
        trouble = self._read_trouble()
        return None if trouble is None else NotReady(State.TROUBLE, f"{trouble}.", _DEVICE_RETRY_S)

    def _enter(self, state: State, reason: str = "") -> None:
        """Changes the state, unless there is no such transition: the model may be loaded while the process stops."""
        if state in _TRANSITIONS[self._state]:
            self._state, self._reason = state, reason
