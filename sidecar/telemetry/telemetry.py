"""Single entry point for instrumentation; feeds metrics, traces and objectives."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum

from sidecar.settings import Settings
from sidecar.telemetry.metrics.ingest import OutcomeCounts
from sidecar.telemetry.metrics.registry import Metrics
from sidecar.telemetry.observer import Observer
from sidecar.telemetry.traces import AttributeValue, MicroBatchReport, Traces


class Stage(StrEnum):
    """The stages of a request or a row, in order; the batcher reports QUEUE and DEVICE."""

    PREPARE = "prepare"  # tokenising
    DECODE = "decode"  # pictures: bytes to pixels
    QUEUE = "queue"  # waiting for the device
    DEVICE = "device"  # in a micro-batch
    DATABASE = "database"  # claim, read, complete, search


def open_traces(settings: Settings) -> Traces:
    """Traces to OTEL_EXPORTER_OTLP_ENDPOINT, or none if it is not set. Nothing is exported before `start`."""
    if settings.otel_exporter_otlp_endpoint is None:
        return Traces()
    from sidecar.telemetry.open_telemetry.traces import OpenTelemetryTraces

    return OpenTelemetryTraces(settings)


class Telemetry:
    """Records what happens in the service. Every method is cheap and never raises.

    Call them on the event loop, unless they say otherwise.
    """

    def __init__(
        self, metrics: Metrics | None = None, traces: Traces | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        self.metrics = metrics or Metrics()
        self.traces = traces or Traces()
        self._observers = tuple(observers)

    @contextmanager
    def stage(self, stage: Stage, lane: str, name: str, **attributes: AttributeValue) -> Iterator[None]:
        """Records the block as an observation of the stage and as a span `name`. Any thread may call.

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
        """Records a micro-batch and its jobs. Call it just after the micro-batch has ended."""
        stages, device = self.metrics.stages, self.metrics.device
        for lane in {job.lane for job in report.jobs}:
            jobs = [job for job in report.jobs if job.lane == lane]
            stages.stages_done(Stage.QUEUE, lane, [job.waited_s for job in jobs])
            stages.stage_done(Stage.DEVICE, lane, report.duration_s, times=len(jobs))
            device.encoded.labels(report.kind, lane).inc(sum(job.units for job in jobs))
        device.batch_views.observe((report.kind,), report.units)
        device.batch_seconds.observe((report.kind,), report.duration_s)
        device.duplicates.inc(report.kind, report.units - report.encoded_units)
        device.not_finite.inc(report.kind, report.without_result)
        if report.error is not None:
            device.errors.inc(report.kind)
        device.record_use(report.device, report.duration_s, report.retried)
        lane_s = report.lane_s()
        for observer in self._observers:
            observer.device_used(lane_s)
        self.traces.micro_batch_done(report)

    def query_cache_looked_up(self, hits: int, misses: int) -> None:
        self.metrics.cache.record_lookups(hits, misses)

    def sql_query_answered(self, outcome: str, duration_s: float) -> None:
        """Records an answer to sidecar.embed: `embedded`, `rejected`, `overloaded` or `failed`."""
        self.metrics.sql_queries.answers.inc(outcome)
        self.metrics.sql_queries.seconds.observe((), duration_s)

    def access_denied(self, reason: str, key: str) -> None:
        """Records a request that was refused for its key: why, and the key's name, which the operator gave, or ''."""
        self.metrics.http.access_denied(reason, key)

    def request_refused(self, lane: str) -> None:
        self.metrics.lanes.refused.inc(lane)

    def job_dropped(self, lane: str, units: int = 0, waited_s: float | None = None) -> None:
        """Records a job that its caller gave up. Call it in the caller's task.

        `waited_s`: since the job entered its lane; None: it never did.
        """
        self.metrics.lanes.dropped.inc(lane)
        if waited_s is not None:
            self.traces.job_dropped(lane, units, waited_s)

    def device_ran_out_of_memory(self, kind: str) -> None:
        self.metrics.device.out_of_memory.inc(kind)

    def decoder_restarted(self) -> None:
        self.metrics.decoders.restarts.inc()

    def events_claimed(self, queue: str, count: int, duration_s: float) -> None:
        """Records a claim. `count` 0: the queue was empty, and the duration is not recorded."""
        if count:
            self.metrics.ingest.claimed.inc(queue, count)
            self._database_done("ingest", "claim", duration_s)
        else:
            self.metrics.ingest.empty_claims.inc()

    def events_done(self, watch: str, outcomes: OutcomeCounts) -> None:
        """Records events that are done, by outcome."""
        self.metrics.ingest.events_done(watch, outcomes)

    def vectors_committed(self, watch: str, lags_s: Sequence[float], backfill_lags_s: Sequence[float]) -> None:
        """See Observer."""
        self.metrics.ingest.vectors_committed(watch, lags_s, backfill_lags_s)
        for observer in self._observers:
            observer.vectors_committed(watch, lags_s, len(backfill_lags_s))

    def set_watches(self, watches: Iterable[str]) -> None:
        """Sets the watches that exist now; metrics of all others disappear."""
        self.metrics.ingest.set_watches(watches)

    def adjust_locked_rows(self, count: int) -> None:
        """Adjusts the number of rows waiting for a lock by `count`, which may be negative."""
        self.metrics.ingest.locked_rows.inc(count)

    def ingest_woke_up(self, cause: str) -> None:
        """`cause`: `notification`, `poll` or `nudge`."""
        self.metrics.ingest.wake_ups.inc(cause)

    def notification_received(self) -> None:
        self.metrics.ingest.notifications.inc()

    def set_listener_connected(self, connected: bool) -> None:
        self.metrics.ingest.listening.set(connected)

    def index_build_ended(self, result: str) -> None:
        """`result`: `built`, `gave_way` or `failed`."""
        self.metrics.ingest.index_builds.inc(result)

    def _database_done(self, lane: str, operation: str, duration_s: float) -> None:
        self.metrics.stages.stage_done(Stage.DATABASE, lane, duration_s)
        self.metrics.stages.operation_done(operation, duration_s)
