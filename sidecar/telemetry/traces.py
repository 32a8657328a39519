"""What the parts say for traces. `Traces` makes none and imports nothing of OpenTelemetry; `open_traces` decides.

request ─┬─ prepare, decode, database …     stages: children of what is around them
         ├─ queue                           from entering the lane until its micro-batch began
         └─ device ──link──► micro-batch    the time on the device, shared with others
batch  ──┬─ claim, read, …                  a claimed batch of rows: a trace of its own, with its watch
         └─ as above
micro-batch ──links──► all that it carries  a trace of its own
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sidecar.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from sidecar.telemetry.telemetry import MicroBatchReport

AttributeValue: TypeAlias = str | bool | int | float
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where work stands in its trace. `watch`: whose rows it is for; None for requests."""

    span: SpanContext
    watch: str | None = None


# Follows the work into the tasks and threads that asyncio starts for it.
current_trace: ContextVar[TraceContext | None] = ContextVar("sidecar_current_trace", default=None)


def current_ids() -> tuple[str, str] | None:
    """The trace and the span that this task works for, in hexadecimal; None outside of any, and without traces."""
    context = current_trace.get()
    return None if context is None else (f"{context.span.trace_id:032x}", f"{context.span.span_id:016x}")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Of an HTTP request, as ASGI gives it; `path` is without the query string. `route`: None if nobody answers it."""

    method: str
    route: str | None
    path: str
    scheme: str
    headers: Headers


class RequestSpan:
    """The span of a request while it is answered. This one is of no trace."""

    def answer(self, status: int) -> None:
        """Once the status is known."""

    @property
    def response_headers(self) -> Headers:
        """What tells the client where to find the trace."""
        return ()


_NOTHING = nullcontext()
_NO_SPAN = nullcontext(RequestSpan())


class Traces:
    """No traces at all, at next to no cost. Any thread may call."""

    on = False

    def span(self, name: str, **attributes: AttributeValue) -> AbstractContextManager[None]:  # noqa: ARG002
        """The block as a child of the span around it. Outside of any it is no span: idle polls make no traces.

        An attribute `texts` is told as `sidecar.texts`. None of them may hold content of texts, pictures or rows.
        """
        return _NOTHING

    def request(self, head: RequestHead) -> AbstractContextManager[RequestSpan]:  # noqa: ARG002
        """The block as the span of a request, in the trace of its caller where its headers name one."""
        return _NO_SPAN

    def batch(self, watch: str, rows: int, claim_s: float) -> AbstractContextManager[None]:  # noqa: ARG002
        """The block as the work on a claimed batch, a trace of its own. Claiming it took `claim_s` just before."""
        return _NOTHING

    def micro_batch_done(self, report: MicroBatchReport) -> None:
        """Makes the spans of the micro-batch, and of the waiting and the device time of all that it carried."""

    def job_dropped(self, lane: str, units: int, waited_s: float) -> None:
        """The current task gave up waiting for the device, `waited_s` after its job entered the lane."""

    def current(self) -> TraceContext | None:
        """What a job has to carry so that its micro-batch can be linked to it."""
        return None

    def start(self) -> None:
        """Begin to send."""

    def close(self, timeout_s: float) -> None:
        """Send what is left, for at most `timeout_s`; nothing is recorded from then on. Blocks."""


def open_traces(settings: Settings) -> Traces:
    """What OTEL_EXPORTER_OTLP_ENDPOINT asks for. Nothing is sent before `start`."""
    if settings.otel_exporter_otlp_endpoint is None:
        return Traces()
    from sidecar.telemetry.open_telemetry.traces import OpenTelemetryTraces

    return OpenTelemetryTraces(settings)
