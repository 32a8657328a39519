"""Whether the device works, judged by the outcome of the calls to it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import NoReturn, Self, TypeAlias, TypeVar

import numpy as np

from sidecar.batching.encoder import Encoder
from sidecar.batching.inputs import Inputs, Kind, TextInputs, ViewInputs
from sidecar.batching.micro_batch import NOT_FINITE
from sidecar.concurrency import background
from sidecar.config import Settings
from sidecar.errors import DeviceError, DeviceLost, DeviceOutOfMemory

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# Wraps one call to the device; the argument describes it in messages.
DeviceCall: TypeAlias = Callable[[str], AbstractContextManager[None]]

PROBE_INTERVAL_S = 1.0
_CHECK_INTERVAL_S = 0.25
_LOST_GRACE_S = 1.0  # time in which load balancers see that the service is not ready
_PROBE_TEXT = "a photo of a cat"
_USUAL_VIEWS = 32  # of a micro-batch to which the timeouts apply; they grow with larger ones
_CPU_TIMEOUT_S = 600.0  # a slow one takes 128 s
_GPU_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Limits by which a device is judged.

    `max_failures` micro-batches of a kind failing in a row are followed by a probe; a call longer than `timeout_s`
    hangs; a device that has not recovered after `recovery_s` is given up.
    """

    max_failures: int = 3
    timeout_s: float = 600.0
    recovery_s: float = 10.0

    @classmethod
    def from_settings(cls, settings: Settings, *, is_gpu: bool = False) -> Self:
        """The default timeout suits the device: a GPU takes milliseconds where a CPU takes minutes.

        A device that is not known yet counts as a CPU.
        """
        timeout_s = settings.device_timeout_s
        if timeout_s is None:
            timeout_s = _GPU_TIMEOUT_S if is_gpu else _CPU_TIMEOUT_S
            timeout_s *= max(settings.batch_max_views / _USUAL_VIEWS, 1)
        return cls(settings.device_max_failures, timeout_s, settings.device_recovery_s)


@dataclass(eq=False, slots=True)
class _Call:
    """A call in progress.

    `running_s` is summed up while the process runs: one that was stopped for an hour has not waited for its device.
    """

    what: str
    running_s: float = 0.0


class DeviceHealth:
    """State of a device. Every call to it, in whatever thread, is recorded here; readiness depends on it.

        WORKS   the last call succeeded, or too few failed to tell.
        FAILS   `max_failures` micro-batches of one kind failed in a row, and then a known input of that kind as well:
                the inputs were not the cause. The known input is tried again every second, since load balancers send
                nothing to a service that is not ready; a success leads back to WORKS.
        HANGS   a call has been running for more than `timeout_s`. When it ends, if ever, the device WORKS again.
        LOST    a call met a fault that no later call in this process recovers from, such as CUDA's device-side assert.

    In all but WORKS, `trouble` has the reason. After `recovery_s` without WORKS, or one second of LOST, the device is
    given up: `guard` raises. Running out of memory is a failure only if nothing at all of a micro-batch fitted, and
    then not even the known text.

    With several devices `name` is in the log lines, and `others` names those that work now: as long as there are any,
    the process goes on without this one (devices.py).
    """

    def __init__(
        self, limits: HealthLimits | None = None, name: str = "", others: Callable[[], Sequence[str]] = tuple
    ) -> None:
        self.limits = limits or HealthLimits()
        self._name = name
        self._others = others
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
        """Why the device cannot be relied upon; None while it works."""
        with self._lock:
            return self._trouble()

    @property
    def hangs(self) -> bool:
        """Whether a call takes longer than `timeout_s`."""
        with self._lock:
            return self._hanging() is not None

    @property
    def given_up(self) -> bool:
        """Whether trouble has lasted for too long. Without other devices that work, the process ends."""
        with self._lock:
            return self._trouble() is not None and self._trouble_s >= self._patience_s()

    def describe(self) -> str:
        """The trouble, with the device's name if there are several; empty while it works."""
        trouble = self.trouble
        return f"{self._name}: {trouble}" if trouble and self._name else trouble or ""

    @contextmanager
    def call(self, what: str) -> Iterator[None]:
        """Wraps one call to the device, in any thread: a DeviceCall."""
        call = _Call(what)
        with self._lock:
            self._calls.append(call)
        try:
            yield
        except DeviceLost as error:
            self.record_loss(str(error))
            raise
        finally:
            with self._lock:
                self._calls.remove(call)

    def record_success(self, kind: Kind) -> None:
        """A micro-batch of the kind, or its known input, had a result."""
        with self._lock:
            self._failures[kind] = 0
            self._failing.pop(kind, None)

    def record_failure(self, kind: Kind) -> bool:
        """Counts a failed micro-batch. True if `max_failures` of the kind failed in a row: a probe is due."""
        with self._lock:
            self._failures[kind] += 1
            return self._failures[kind] >= self.limits.max_failures

    def record_probe_failure(self, kind: Kind, reason: str) -> None:
        """The known input of the kind failed as well; it is due again in a second."""
        with self._lock:
            self._failing[kind] = reason
            self._next_probe_s = time.monotonic() + PROBE_INTERVAL_S
        self._report()

    def record_loss(self, reason: str) -> None:
        """No call in this process will succeed any more."""
        with self._lock:
            self._lost = self._lost or reason
        self._report()

    def probe_due(self) -> Kind | None:
        """The kind whose known input is to be tried now, if any."""
        with self._lock:
            if not self._failing or self._lost or time.monotonic() < self._next_probe_s:
                return None
            return next(iter(self._failing))

    def seconds_to_probe(self) -> float | None:
        """Time until a known input is due; None while no kind fails."""
        with self._lock:
            if not self._failing or self._lost:
                return None
            return max(self._next_probe_s - time.monotonic(), 0.0)

    async def guard(self, work: Awaitable[Result]) -> Result:
        """The result of `work`. Once the device is given up, cancels `work` and raises DeviceLost."""
        return await guard_devices([self], work)

    def advance(self, elapsed_s: float) -> None:
        """Counts time that has passed, and logs the state if it changed."""
        self._advance(elapsed_s)
        self._report()

    def _advance(self, elapsed_s: float) -> None:
        with self._lock:
            for call in self._calls:
                call.running_s += elapsed_s
            self._trouble_s = self._trouble_s + elapsed_s if self._trouble() else 0.0

    def _report(self) -> None:
        """Logs the state if it changed."""
        with self._lock:
            trouble = self._trouble() or ""
            changed, self._reported = trouble != self._reported, trouble
            patience_s, is_lost = self._patience_s(), bool(self._lost)
        prefix = f"{self._name}: " if self._name else ""
        if changed and trouble:
            if others := self._others():
                then = "Only a restart brings it back." if is_lost else "It takes part again once it recovers."
                logger.error("%s%s. The process continues with %s. %s", prefix, trouble, ", ".join(others), then)
                return
            logger.error(
                "%s%s. Not ready from now on; unless it recovers, the process exits in %g s.",
                *(prefix, trouble, patience_s),
            )
        elif changed:
            logger.warning("%sThe device is working again.", prefix)

    def _patience_s(self) -> float:
        """How long trouble lasts before the device is given up."""
        return min(_LOST_GRACE_S, self.limits.recovery_s) if self._lost else self.limits.recovery_s

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


async def guard_devices(
    healths: Sequence[DeviceHealth], work: Awaitable[Result], on_check: Callable[[], object] = lambda: None
) -> Result:
    """The result of `work`. Once all devices are given up, cancels `work` and raises DeviceLost.

    `on_check` is called several times a second, after their states have been brought up to date.
    """
    working = asyncio.ensure_future(work)
    try:
        async with background(_watch(healths, on_check), "device-health") as watching:
            await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            return working.result()
    finally:
        working.cancel()


async def _watch(healths: Sequence[DeviceHealth], on_check: Callable[[], object]) -> NoReturn:
    while True:
        interval_s = min(_CHECK_INTERVAL_S, *(health.limits.timeout_s / 10 for health in healths))
        began_s = time.monotonic()
        await asyncio.sleep(interval_s)
        elapsed_s = min(time.monotonic() - began_s, 2 * interval_s)
        for health in healths:
            health.advance(elapsed_s)
        on_check()
        if all(health.given_up for health in healths):
            raise DeviceLost(f"{_describe(healths)}; the process exits so that another one can start afresh")


def _describe(healths: Sequence[DeviceHealth]) -> str:
    return "; ".join(health.describe() for health in healths)


def known_input(encoder: Encoder, kind: Kind) -> Inputs:
    """One text, or one view for pictures, of which the encoder computed a vector in its self-test.

    For pairs it is the text too: a reranking model that is broken is not the device's fault.
    """
    if kind is not Kind.PICTURE:
        return TextInputs(encoder.prepare_texts([_PROBE_TEXT]))
    ramp = np.linspace(0, 255, encoder.view_size, dtype=np.uint8)
    return ViewInputs(np.stack([np.add.outer(ramp // 2, ramp // 2)] * 3, axis=-1)[None])


def run_probe(encoder: Encoder, kind: Kind) -> None:
    """Encodes the known input of a kind, in the device thread. Blocks. Raises DeviceError if the device fails on it.

    A view that does not fit into memory is not a failure, whereas a text is.
    """
    inputs = known_input(encoder, kind)
    try:
        rows = inputs.encode(encoder, [(inputs, 0)])
    except DeviceOutOfMemory:
        if kind is Kind.TEXT:
            raise
        run_probe(encoder, Kind.TEXT)
        return
    if inputs.invalid_rows(rows).any():
        raise DeviceError(NOT_FINITE)
