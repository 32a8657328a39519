"""Which traces are kept."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes


class LikeItsLinks(Sampler):
    """A trace that begins with links is kept if one of those it is linked to is kept; the others as `unlinked` says."""

    def __init__(self, unlinked: Sampler) -> None:
        self._unlinked = unlinked

    def should_sample(  # noqa: PLR0913, PLR0917 - the interface is OpenTelemetry's
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        sampler = self._unlinked
        if links:
            sampler = ALWAYS_ON if any(link.context.trace_flags.sampled for link in links) else ALWAYS_OFF
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"LikeItsLinks{{{self._unlinked.get_description()}}}"
