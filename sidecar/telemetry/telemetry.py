"""What every part tells of its work: once, for metrics and traces alike."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from opentelemetry.util.types import AttributeValue

from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.traces import TraceContext, Traces


class Stage(StrEnum):
    """The way of a request or a row, in order; QUEUE and DEVICE are told by the batcher."""

    PREPARE = "prepare"  # tokenising
    DECODE = "decode"  # pictures: bytes to pixels
    QUEUE = "queue"  # waiting for the device
    DEVICE = "device"  # in a micro-batch
    DATABASE = "database"  # claim, read, complete, search


@dataclass(frozen=True, slots=True)
class Carried:
    """A job's part in a micro-batch. `waited_s`: from entering its lane until the micro-batch began."""

    lane: str
    units: int
    waited_s: float
    trace: TraceContext | None


@dataclass(frozen=True, slots=True)
class MicroBatchReport:
    """`kind`: text, picture or pair. `encoded_units`: without duplicates. `error`: its class, if the device failed."""

    kind: str
    encoded_units: int
    duration_s: float
    carried: Sequence[Carried]
    error: str | None = None

    @property
    def units(self) -> int:
        return sum(part.units for part in self.carried)


class Telemetry:
    """Everything here is cheap and never raises. Not thread-safe where it says so; else any thread may call."""

    def __init__(self, metrics: Metrics | None = None, traces: Traces | None = None) -> None:
        self.metrics = metrics or Metrics()
        self.traces = traces or Traces()

    @contextmanager
    def stage(self, stage: Stage, lane: str, name: str, **attributes: AttributeValue) -> Iterator[None]:
        """The block as an observation of the stage, and as a span `name`."""
        started = time.perf_counter()
        try:
            with self.traces.span(name, **attributes):
                yield
        finally:
            self.metrics.stage_seconds.labels(stage.value, lane).observe(time.perf_counter() - started)

    def micro_batch_done(self, report: MicroBatchReport) -> None:
        """Told in the loop, just after the micro-batch ended."""
        for part in report.carried:
            self.metrics.stage_seconds.labels(Stage.QUEUE.value, part.lane).observe(part.waited_s)
            self.metrics.stage_seconds.labels(Stage.DEVICE.value, part.lane).observe(report.duration_s)
        self.metrics.micro_batch_views.labels(report.kind).observe(report.units)
        self.metrics.duplicates.labels(report.kind).inc(report.units - report.encoded_units)

    def query_cache_looked_up(self, hits: int, misses: int) -> None:
        self.metrics.query_cache_lookups.labels("hit").inc(hits)
        self.metrics.query_cache_lookups.labels("miss").inc(misses)

    def request_refused(self, lane: str) -> None:
        self.metrics.refusals.labels(lane).inc()

    def job_dropped(self, lane: str) -> None:
        self.metrics.dropped.labels(lane).inc()

    def device_ran_out_of_memory(self, kind: str) -> None:
        self.metrics.out_of_memory.labels(kind).inc()
