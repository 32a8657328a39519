"""OpenTelemetry traces: a span per stage, a span per micro-batch, linked to those it carries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from opentelemetry.trace import INVALID_SPAN, NoOpTracer, SpanContext, Tracer, get_current_span
from opentelemetry.util.types import AttributeValue

TraceContext: TypeAlias = SpanContext


class Traces:
    """Without a tracer nothing is recorded, and it costs next to nothing."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or NoOpTracer()
        self.on = tracer is not None

    @contextmanager
    def span(self, name: str, **attributes: AttributeValue) -> Iterator[None]:
        """The block as a span, a child of the one around it."""
        if not self.on:
            yield
            return
        with self._tracer.start_as_current_span(name, attributes=attributes):
            yield

    def current(self) -> TraceContext | None:
        """What a job has to carry so that a micro-batch can be linked to it; None where nothing is traced."""
        span = get_current_span()
        return None if span is INVALID_SPAN else span.get_span_context()
