"""Whether the device works, from what becomes of the calls to it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import NoReturn, Self, TypeAlias, TypeVar

import numpy as np

from sidecar.batching.encoder import Encoder
from sidecar.batching.inputs import Kind, TextWork, ViewWork, Work
from sidecar.batching.micro_batch import NOT_FINITE
from sidecar.config import Settings
from sidecar.errors import DeviceError, DeviceLost, DeviceOutOfMemory

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# The block is one call to the device, described for people.
DeviceCall: TypeAlias = Callable[[str], AbstractContextManager[None]]

PROBE_INTERVAL_S = 1.0
_LOOK_S = 0.25
_USUAL_VIEWS = 32  # of a micro-batch for which these are
_CPU_TIMEOUT_S = 600.0  # a slow one takes 128 s
_GPU_TIMEOUT_S = 60.0
_LAST_WORDS_S = 1.0  # for balancers to be told that a lost device is


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """`max_failures` micro-batches of a kind that fail in a row are too many; a call of more than `timeout_s` hangs; a
    device that has not recovered after `recovery_s` is given up.
    """

    max_failures: int = 3
    timeout_s: float = 600.0
    recovery_s: float = 10.0

    @classmethod
    def from_settings(cls, settings: Settings, *, is_gpu: bool = False) -> Self:
        """A GPU takes milliseconds where a CPU takes minutes. Until the device is known, it counts as a CPU."""
        timeout_s = settings.device_timeout_s
        if timeout_s is None:
            timeout_s = _GPU_TIMEOUT_S if is_gpu else _CPU_TIMEOUT_S
            timeout_s *= max(settings.batch_max_views / _USUAL_VIEWS, 1)
        return cls(settings.device_max_failures, timeout_s, settings.device_recovery_s)


@dataclass(eq=False, slots=True)
class _Call:
    """`running_s` is counted, not measured: a process that was stopped for an hour has not waited for its device."""

    what: str
    running_s: float = 0.0


class DeviceHealth:
    """Shared by all that call the device, in whatever thread, and asked by readiness.

        WORKS   the last call succeeded, or too few failed to say.
        FAILS   `max_failures` micro-batches of one kind failed in a row, and then a known input of that kind as well:
                it was not the inputs. That input is tried again every second, since balancers send nothing to a service
                that is not ready; a success leads back to WORKS.
        HANGS   a call has been running for more than `timeout_s`. Its end, if it comes, leads back to WORKS.
        LOST    a call met a fault that no later one in this process gets over, as CUDA's device-side assert.

    In all but WORKS `trouble` has the reason. After `recovery_s` without WORKS, of LOST after a second, the device is
    given up: `watched` raises. Out of memory is a failure only where nothing at all of a micro-batch fitted, and then
    not even the known text.
    """

    def __init__(self, limits: HealthLimits | None = None) -> None:
        self.limits = limits or HealthLimits()
        self._lock = threading.Lock()
        self._calls: list[_Call] = []
        self._failures = dict.fromkeys(Kind, 0)
        self._failing: dict[Kind, str] = {}
        self._next_probe_s = 0.0  # on the clock of time.monotonic()
        self._lost = ""
        self._reported = ""
        self._trouble_s = 0.0

    @property
    def trouble(self) -> str | None:
        """Why the device cannot be relied upon; None: it works."""
        with self._lock:
            return self._trouble()

    @contextmanager
    def call(self, what: str) -> Iterator[None]:
        """The block is one call to the device, in whatever thread: a DeviceCall."""
        call = _Call(what)
        with self._lock:
            self._calls.append(call)
        try:
            yield
        except DeviceLost as error:
            self.lost(str(error))
            raise
        finally:
            with self._lock:
                self._calls.remove(call)

    def succeeded(self, kind: Kind) -> None:
        """A micro-batch of the kind had a result."""
        with self._lock:
            self._failures[kind] = 0
            self._failing.pop(kind, None)

    def failed(self, kind: Kind) -> bool:
        """A micro-batch of the kind had none. True: one too many, a known input should be tried."""
        with self._lock:
            self._failures[kind] += 1
            return self._failures[kind] >= self.limits.max_failures

    def probe_failed(self, kind: Kind, reason: str) -> None:
        """The known input of the kind failed as well; again in a second."""
        with self._lock:
            self._failing[kind] = reason
            self._next_probe_s = time.monotonic() + PROBE_INTERVAL_S
        self._report()

    def lost(self, reason: str) -> None:
        """Nothing in this process will be computed any more."""
        with self._lock:
            self._lost = self._lost or reason
        self._report()

    def probe_due(self) -> Kind | None:
        """The kind whose known input is to be tried now."""
        with self._lock:
            if not self._failing or self._lost or time.monotonic() < self._next_probe_s:
                return None
            return next(iter(self._failing))

    def probe_in_s(self) -> float | None:
        """How long until one is due; None: none is."""
        with self._lock:
            if not self._failing or self._lost:
                return None
            return max(self._next_probe_s - time.monotonic(), 0.0)

    async def watched(self, work: Awaitable[Result]) -> Result:
        """The result of what depends on the device. Raises DeviceLost as soon as that is given up; cancels `work`."""
        working = asyncio.ensure_future(work)
        watching = asyncio.create_task(self._watch(), name="device-health")
        try:
            await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            return working.result()
        finally:
            working.cancel()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> NoReturn:
        while True:
            look_s = min(_LOOK_S, self.limits.timeout_s / 10)
            began_s = time.monotonic()
            await asyncio.sleep(look_s)
            self._advance(min(time.monotonic() - began_s, 2 * look_s))
            self._report()
            self._give_up_if_over()

    def _advance(self, elapsed_s: float) -> None:
        with self._lock:
            for call in self._calls:
                call.running_s += elapsed_s
            self._trouble_s = self._trouble_s + elapsed_s if self._trouble() else 0.0

    def _give_up_if_over(self) -> None:
        with self._lock:
            trouble, recovery_s = self._trouble(), self.limits.recovery_s
            if trouble is None or self._trouble_s < (min(_LAST_WORDS_S, recovery_s) if self._lost else recovery_s):
                return
        raise DeviceLost(f"{trouble}; the process ends so that another one can begin afresh")

    def _report(self) -> None:
        """Once for each change."""
        with self._lock:
            trouble = self._trouble() or ""
            changed, self._reported = trouble != self._reported, trouble
            recovery_s = min(_LAST_WORDS_S, self.limits.recovery_s) if self._lost else self.limits.recovery_s
        if changed and trouble:
            logger.error(
                "%s. Not ready from now on; unless it recovers, the process ends in %g s.", trouble, recovery_s
            )
        elif changed:
            logger.warning("The device works again.")

    def _trouble(self) -> str | None:
        if self._lost:
            return f"The device is lost: {self._lost}"
        if (call := self._hanging()) is not None:
            return f"The device hangs: {call.what} takes more than {self.limits.timeout_s:g} s (DEVICE_TIMEOUT_S)"
        if self._failing:
            return f"The device fails: {next(iter(self._failing.values()))}"
        return None

    def _hanging(self) -> _Call | None:
        return next((call for call in self._calls if call.running_s >= self.limits.timeout_s), None)


_TEXT = "a photo of a cat"


def probe_work(encoder: Encoder, kind: Kind) -> Work:
    """One text, or one view for pictures. Any encoder has a vector for it, as its self-test showed.

    For pairs it is the text too: a reranking model that is broken is not the device's fault.
    """
    if kind is not Kind.PICTURE:
        return TextWork(encoder.prepare_texts([_TEXT]))
    ramp = np.linspace(0, 255, encoder.view_size, dtype=np.uint8)
    return ViewWork(np.stack([np.add.outer(ramp // 2, ramp // 2)] * 3, axis=-1)[None])


def run_probe(encoder: Encoder, kind: Kind) -> None:
    """Blocks, in the device's thread. Raises DeviceError if the device does not encode even that.

    A view that does not fit into its memory is none of its faults, while a text does.
    """
    work = probe_work(encoder, kind)
    try:
        rows = work.encode(encoder, [(work, 0)])
    except DeviceOutOfMemory:
        if kind is Kind.TEXT:
            raise
        run_probe(encoder, Kind.TEXT)
        return
    if work.without_result(rows).any():
        raise DeviceError(NOT_FINITE)
