"""What every part tells of its work: once, for metrics, traces and objectives alike."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from sidecar.telemetry.metrics.ingest import Outcomes
from sidecar.telemetry.metrics.registry import Metrics
from sidecar.telemetry.observer import Observer
from sidecar.telemetry.traces import AttributeValue, TraceContext, Traces


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
    """`kind`: text, picture or pair. `encoded_units`: without duplicates. `error`: its class, if the device failed.

    `ended_s` is on the clock of time.monotonic; None: just now. `without_result`: units whose numbers were not finite.
    """

    kind: str
    encoded_units: int
    duration_s: float
    carried: Sequence[Carried]
    error: str | None = None
    ended_s: float | None = None
    without_result: int = 0

    @property
    def units(self) -> int:
        return sum(part.units for part in self.carried)


class Telemetry:
    """Everything here is cheap and never raises. To be told on the event loop, unless it says otherwise."""

    def __init__(
        self, metrics: Metrics | None = None, traces: Traces | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        self.metrics = metrics or Metrics()
        self.traces = traces or Traces()
        self._observers = tuple(observers)

    @contextmanager
    def stage(self, stage: Stage, lane: str, name: str, **attributes: AttributeValue) -> Iterator[None]:
        """The block as an observation of the stage, and as a span `name`. Any thread may call.

        For DATABASE `name` is the operation: one of a few words, never made of data.
        """
        started = time.perf_counter()
        try:
            with self.traces.span(name, stage=stage.value, lane=lane, **attributes):
                yield
        finally:
            duration_s = time.perf_counter() - started
            if stage is Stage.DATABASE:
                self._database_done(lane, name, duration_s)
            else:
                self.metrics.stages.stage_done(stage, lane, duration_s)

    def request_started(self) -> None:
        self.metrics.http.in_flight.inc()

    def request_done(self, route: str, method: str, status: int, duration_s: float) -> None:
        """See Observer."""
        self.metrics.http.in_flight.dec()
        self.metrics.http.request_done(route, method, status, duration_s)
        for observer in self._observers:
            observer.request_done(route, method, status, duration_s)

    def micro_batch_done(self, report: MicroBatchReport) -> None:
        """Told in the loop, just after the micro-batch ended."""
        stages, device = self.metrics.stages, self.metrics.device
        for lane in {part.lane for part in report.carried}:
            parts = [part for part in report.carried if part.lane == lane]
            stages.stages_done(Stage.QUEUE, lane, [part.waited_s for part in parts])
            stages.stage_done(Stage.DEVICE, lane, report.duration_s, times=len(parts))
            device.encoded.labels(report.kind, lane).inc(sum(part.units for part in parts))
        device.batch_views.observe((report.kind,), report.units)
        device.batch_seconds.observe((report.kind,), report.duration_s)
        device.duplicates.inc(report.kind, report.units - report.encoded_units)
        device.not_finite.inc(report.kind, report.without_result)
        if report.error is not None:
            device.errors.inc(report.kind)
        self.traces.micro_batch_done(report)

    def query_cache_looked_up(self, hits: int, misses: int) -> None:
        self.metrics.cache.looked_up(hits, misses)

    def request_refused(self, lane: str) -> None:
        self.metrics.lanes.refused.inc(lane)

    def job_dropped(self, lane: str, units: int = 0, waited_s: float | None = None) -> None:
        """`waited_s`: since it entered its lane; None: it never did. Told in the task that gave up."""
        self.metrics.lanes.dropped.inc(lane)
        if waited_s is not None:
            self.traces.job_dropped(lane, units, waited_s)

    def device_ran_out_of_memory(self, kind: str) -> None:
        self.metrics.device.out_of_memory.inc(kind)

    def decoder_restarted(self) -> None:
        self.metrics.decoders.restarts.inc()

    def events_claimed(self, queue: str, count: int, duration_s: float) -> None:
        """`count` 0: the queue was empty; how soon that was found is nobody's question."""
        if count:
            self.metrics.ingest.claimed.inc(queue, count)
            self._database_done("ingest", "claim", duration_s)
        else:
            self.metrics.ingest.empty_claims.inc()

    def events_done(self, watch: str, outcomes: Outcomes) -> None:
        """Events that are no longer in hand."""
        self.metrics.ingest.events_done(watch, outcomes)

    def vectors_committed(self, watch: str, lags_s: Sequence[float], backfill_lags_s: Sequence[float]) -> None:
        """See Observer."""
        self.metrics.ingest.vectors_committed(watch, lags_s, backfill_lags_s)
        if lags_s:
            for observer in self._observers:
                observer.vectors_committed(watch, lags_s)

    def watches_are(self, watches: Iterable[str]) -> None:
        """All that are watched now."""
        self.metrics.ingest.watches_are(watches)

    def rows_parked(self, count: int) -> None:
        """So many more wait for a locked row; negative: so many fewer."""
        self.metrics.ingest.locked_rows.inc(count)

    def woke_up(self, cause: str) -> None:
        """`notification`, `poll` or `nudge`."""
        self.metrics.ingest.wake_ups.inc(cause)

    def notification_received(self) -> None:
        self.metrics.ingest.notifications.inc()

    def listener_is(self, connected: bool) -> None:
        self.metrics.ingest.listening.set(connected)

    def index_build_ended(self, result: str) -> None:
        """`built`, `gave_way` or `failed`."""
        self.metrics.ingest.index_builds.inc(result)

    def _database_done(self, lane: str, operation: str, duration_s: float) -> None:
        self.metrics.stages.stage_done(Stage.DATABASE, lane, duration_s)
        self.metrics.stages.operation_done(operation, duration_s)
