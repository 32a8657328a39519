"""The interface for traces, and the trace that the current task belongs to.

`Traces` records nothing and imports nothing of OpenTelemetry; `telemetry.open_traces` chooses the implementation.

request ─┬─ prepare, decode, database …     stages: children of the span around them
         ├─ queue                           from entering the lane until its micro-batch began
         └─ device ──link──► micro-batch    the time on the device, shared with others
batch  ──┬─ claim, read, …                  a claimed batch of rows: a trace of its own, with its watch
         └─ queue, device                   as above
micro-batch ──links──► all its jobs         a trace of its own
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

AttributeValue: TypeAlias = str | bool | int | float
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The current span. `watch`: the watch whose rows are embedded; None for requests."""

    span: SpanContext
    watch: str | None = None


# Inherited by the tasks and threads that asyncio starts.
current_trace: ContextVar[TraceContext | None] = ContextVar("sidecar_current_trace", default=None)


def current_ids() -> tuple[str, str] | None:
    """Trace id and span id of the current task, in hexadecimal; None outside of a trace and with traces off."""
    context = current_trace.get()
    return None if context is None else (f"{context.span.trace_id:032x}", f"{context.span.span_id:016x}")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Method, path and headers of an HTTP request, from ASGI's scope.

    `path` is without the query string. `route`: None if no endpoint has this path.
    """

    method: str
    route: str | None
    path: str
    scheme: str
    headers: Headers


class RequestSpan:
    """The span of a request in flight. This base class records nothing."""

    def record_status(self, status: int) -> None:
        """Records the status, once it is known."""

    @property
    def response_headers(self) -> Headers:
        """Headers that name the trace to the client."""
        return ()


@dataclass(frozen=True, slots=True)
class BatchedJob:
    """A job's part in a micro-batch. `waited_s`: from entering its lane until the micro-batch began."""

    lane: str
    units: int
    waited_s: float
    trace: TraceContext | None


@dataclass(frozen=True, slots=True)
class MicroBatchReport:
    """A micro-batch that has ended. `kind`: text, picture or pair. `encoded_units`: without duplicates.

    `error`: the class of the exception if the device failed. `ended_s` is of time.monotonic; None: just now.
    `without_result`: units whose numbers were not finite. `retried`: slices that another device tries again.
    """

    kind: str
    encoded_units: int
    duration_s: float
    jobs: Sequence[BatchedJob]
    error: str | None = None
    ended_s: float | None = None
    without_result: int = 0
    device: str = ""
    retried: int = 0

    @property
    def units(self) -> int:
        return sum(job.units for job in self.jobs)

    def lane_s(self) -> dict[str, float]:
        """The duration, divided among the lanes of its jobs by their units."""
        unit_s = self.duration_s / max(self.units, 1)
        shares: dict[str, float] = {}
        for job in self.jobs:
            shares[job.lane] = shares.get(job.lane, 0.0) + job.units * unit_s
        return shares


_NO_SPAN = nullcontext()
_NO_REQUEST_SPAN = nullcontext(RequestSpan())


class Traces:
    """Records nothing, at next to no cost. Any thread may call."""

    enabled = False

    def span(self, name: str, **attributes: AttributeValue) -> AbstractContextManager[None]:  # noqa: ARG002
        """The block as a child of the current span. No span without one: idle polls make no traces.

        An attribute `texts` is recorded as `sidecar.texts`. None may hold content of texts, pictures or rows.
        """
        return _NO_SPAN

    def request(self, head: RequestHead) -> AbstractContextManager[RequestSpan]:  # noqa: ARG002
        """The block as the span of a request, in the trace of its caller if the headers name one."""
        return _NO_REQUEST_SPAN

    def batch(self, watch: str, rows: int, claim_s: float) -> AbstractContextManager[None]:  # noqa: ARG002
        """The block as the work on a claimed batch, a trace of its own. The claim took `claim_s` just before."""
        return _NO_SPAN

    def micro_batch_done(self, report: MicroBatchReport) -> None:
        """Records the span of a micro-batch, and the spans `queue` and `device` of each of its jobs."""

    def job_dropped(self, lane: str, units: int, waited_s: float) -> None:
        """Records that the current task gave up waiting for the device, `waited_s` after its job entered the lane."""

    def current_context(self) -> TraceContext | None:
        """The context that a job carries, so that its micro-batch can be linked to it."""
        return None

    def start(self) -> None:
        """Starts exporting."""

    def close(self, timeout_s: float) -> None:
        """Exports what is left, for at most `timeout_s`, and stops recording. Blocks."""
