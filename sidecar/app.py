"""Composition root: opens all parts of the process in order, supervises them, and closes them in reverse order.

The states that the process passes through are those of sidecar/readiness.py. The way of a request through the parts is
in sidecar/http/application.py, that of a row in sidecar/ingest/ingest.py.

`sidecar serve` (sidecar/server.py) owns its server and shuts it down in order. Under a bare `uvicorn --factory
sidecar.app:create_app`, a process that fails sends itself SIGTERM, and uvicorn exits as if killed by it (143). There,
ingest is stopped only after the last connection is closed: pass `--timeout-graceful-shutdown 5`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from starlette.applications import Starlette

from sidecar.announcement import database_fact, model_fact
from sidecar.batching.batcher import Batcher
from sidecar.batching.device_health import DeviceCall, HealthLimits
from sidecar.batching.devices import Device, Devices
from sidecar.batching.embedder import Embedder
from sidecar.batching.encoder import Encoder, PairScorer, ScorerCopies, framing_of
from sidecar.batching.job import Lane
from sidecar.batching.lanes import BatchSettings
from sidecar.batching.reranker import LazyScorer, Reranker
from sidecar.concurrency import background, in_daemon_thread
from sidecar.config import Settings, load_settings, misspelt_variables, set_compiler_defaults, set_openmp_defaults
from sidecar.endpoints import EndpointParts, make_event_feed, make_operations
from sidecar.error_lines import write_error
from sidecar.errors import ConfigurationError, DeviceError, ModelError, SidecarError
from sidecar.http.access import Access
from sidecar.http.application import HttpSetup, make_http_application
from sidecar.http.health import HealthEndpoints
from sidecar.http.key_ring import KeyRing
from sidecar.http.limits import RequestLimits
from sidecar.http.models import ModelInfo, Models
from sidecar.http.operation import Operation
from sidecar.http.search.key_check import KeyCheck
from sidecar.ingest.ingest import Ingest
from sidecar.model.golden import find_golden
from sidecar.model.selftest import run_self_test
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.pictures.decoder.settings import DecoderSettings
from sidecar.postgres.database import Database
from sidecar.postgres.outage import Outage
from sidecar.postgres.reads import Reads, standby_url
from sidecar.postgres.status import WatchStatus
from sidecar.postgres.watch_reader import WatchReader
from sidecar.process_exit import EXIT_CONFIGURATION
from sidecar.readiness import Readiness
from sidecar.running_parts import READ_WATCHES_S, RunningParts
from sidecar.sql_queries.query_server import QueryServer
from sidecar.supervisor import Supervisor, log_failure
from sidecar.telemetry.history import History
from sidecar.telemetry.logs.configuration import configure_logging
from sidecar.telemetry.metrics.device import DeviceFacts
from sidecar.telemetry.metrics.registry import Metrics
from sidecar.telemetry.objectives import ObjectiveMetrics, Objectives
from sidecar.telemetry.observer import Observer
from sidecar.telemetry.telemetry import Telemetry, open_traces

logger = logging.getLogger(__name__)

# One encoder, or one for each device: copies of one model.
LoadEncoder: TypeAlias = Callable[[Settings], Encoder | Sequence[Encoder]]
LoadScorer: TypeAlias = Callable[[Settings, DeviceCall], PairScorer]

_QUIET_LOADING_S = 5.0
_MODEL_HINT = "VISION_MODEL_ID names the model; VISION_MODEL_ID=demo is a small one that needs no download."
_EXPORT_HINT = (
    "EXPORT_DIR names the export; sidecar export makes a new one. Without ENCODER_BACKEND PyTorch runs the model."
)
_EXIT_SHARE, _MAX_EXIT_S = 0.1, 1.0  # of SHUTDOWN_TIMEOUT_S, for the end of the interpreter
_CLOSING_SHARE = 0.2  # of SHUTDOWN_TIMEOUT_S, kept for what is closed after ingest
_TRACES_SHARE = 0.1  # of SHUTDOWN_TIMEOUT_S, at most, for the last traces


def load_embedding_model(settings: Settings) -> Sequence[Encoder]:
    """The model that the settings name, on each device. Blocks. Imports torch only when called: that takes seconds."""
    set_openmp_defaults()
    if settings.device_compile == "on":
        set_compiler_defaults()
    from sidecar.model.loading import load_encoders

    return load_encoders(settings)


def load_reranking_model(settings: Settings, device_call: DeviceCall) -> PairScorer:
    """The cross-encoder that the settings name, on their first device. Blocks. Imports sentence-transformers."""
    set_openmp_defaults()
    from sidecar.model.reranker.loading import load_cross_encoder

    return load_cross_encoder(settings, device_call)


def create_app(
    settings: Settings | None = None,
    *,
    load_encoder: LoadEncoder = load_embedding_model,
    load_scorer: LoadScorer = load_reranking_model,
) -> Starlette:
    """For `uvicorn --factory sidecar.app:create_app`. Reads the environment; invalid settings exit with code 2."""
    try:
        if settings is None:
            settings = load_settings()
            configure_logging(settings)
            for sentence in misspelt_variables():
                logger.warning("%s", sentence)
        end = partial(os.kill, os.getpid(), signal.SIGTERM)
        sidecar = Sidecar(settings, load_encoder, on_failure=end, load_scorer=load_scorer)
    except ConfigurationError as error:
        write_error(error)
        raise SystemExit(EXIT_CONFIGURATION) from error
    return sidecar.make_app()


def make_telemetry(settings: Settings, objectives: Objectives, *observers: Observer) -> Telemetry:
    """The telemetry of one process, which feeds `objectives` and other observers too."""
    telemetry = Telemetry(traces=open_traces(settings), observers=[objectives, *observers])
    telemetry.metrics.registry.register(ObjectiveMetrics(objectives))
    return telemetry


def device_limits(settings: Settings, encoder: object) -> HealthLimits:
    """When a device that runs `encoder` counts as failing or hanging; a CPU may take longer than a GPU."""
    is_gpu = isinstance(encoder, DeviceFacts) and encoder.device_name not in {"cpu", "mps"}
    return HealthLimits.from_settings(settings, is_gpu=is_gpu)


@dataclass(frozen=True, slots=True)
class Demand:
    """The state of all watches, and the row changes that this process has handled since its start."""

    watches: Sequence[WatchStatus]
    rows_done: int


def device_settings(settings: Settings, device: Device) -> Settings:
    """The settings for a model on that device alone."""
    return settings.model_copy(update={"cuda_device": device.name}) if device.name.startswith("cuda:") else settings


class Sidecar:
    """The parts of the process and their lifecycle. `on_failure` has to stop the server.

    `report` gets the error that ends the process, if it was raised on purpose. `on_ready` is called once queries are
    embedded, after model and database were announced in the log. Raises ConfigurationError if keys cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        load_encoder: LoadEncoder,
        on_failure: Callable[[], None],
        load_scorer: LoadScorer = load_reranking_model,
        *,
        report: Callable[[SidecarError], None] = log_failure,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.supervisor = Supervisor(self._fail, report)
        self._on_ready = on_ready
        self._settings = settings
        self._load_encoder = load_encoder
        self._load_scorer = load_scorer
        self._on_failure = on_failure
        self._keys = KeyRing(settings.api_keys, settings.api_keys_file)
        self._objectives = Objectives(settings)
        self._history = History([lane.value for lane in Lane])
        self._telemetry = make_telemetry(settings, self._objectives, self._history)
        self._devices: Devices | None = None  # until the model is loaded
        self.readiness = Readiness(lambda: None if self._devices is None else self._devices.trouble)
        self._outage = Outage()
        self._parts = RunningParts(settings, self.readiness, self._outage)
        url = settings.database_url
        pool = (settings.listen_database_url, settings.database_pool_size, self._outage)
        self._database = Database(url, *pool) if url else None
        self._standby = _open_standby(settings)
        self._reads = Reads(self._database, self._standby, settings.search_max_lag_s) if self._database else None
        self._watch_reader = WatchReader(self._database, self._telemetry.metrics.watches) if self._database else None
        self._health = HealthEndpoints(self.readiness, self._parts, self._objectives, self._outage, self._reads)
        self._feed = make_event_feed(self._history, self._health, self._watch_reader)
        self._ingest: Ingest | None = None
        self._scorer: LazyScorer | None = None
        self._stop_by = 0.0  # on the loop's clock
        self._closing = asyncio.Event()

    def make_app(self, *, has_lifespan: bool = True) -> Starlette:
        """The application; without a lifespan of its own, all that it needs is open inside `running` only."""
        settings, limits = self._settings, RequestLimits.from_settings(self._settings)
        origins = settings.cors_allow_origins
        operations = self._operations(limits)
        queries = {(each.path, each.method) for each in operations if each.is_query}
        self._objectives.queries = self._history.queries = queries
        setup = HttpSetup(
            limits=limits,
            access=Access(
                self._keys,
                anonymous=settings.allow_anonymous,
                cors_origins=origins,
                count_refusal=self._telemetry.access_denied,
            ),
            root_path=settings.root_path.rstrip("/"),
            cors_origins=origins,
            telemetry=self._telemetry,
            readiness=self.readiness,
        )
        return make_http_application(operations, setup, self._lifespan if has_lifespan else _no_lifespan)

    def _operations(self, limits: RequestLimits) -> list[Operation]:
        reads, telemetry = self._reads, self._telemetry
        if reads is not None and self._standby is not None:
            telemetry.metrics.replica.follow(lambda: reads.lag_s, lambda: reads.uses_standby)
        parts = EndpointParts(
            settings=self._settings,
            limits=limits,
            readiness=self.readiness,
            running=self._parts,
            telemetry=telemetry,
            health=self._health,
            feed=self._feed,
            keys=self._keys,
            database=self._database,
            reads=reads,
            refresh_gauges=self.refresh_gauges,
        )
        return make_operations(parts)

    def _fail(self, reason: str) -> None:
        self.readiness.fail(reason)
        self._on_failure()

    def request_stop(self) -> None:
        """Stops claiming rows, and limits what is left of the lifespan to SHUTDOWN_TIMEOUT_S. May be repeated."""
        if self.supervisor.stopping:
            return
        self.supervisor.stop()
        self.readiness.stop()
        timeout_s = self._settings.shutdown_timeout_s
        timeout_s -= min(_EXIT_SHARE * timeout_s, _MAX_EXIT_S)
        self._stop_by = asyncio.get_running_loop().time() + timeout_s
        self._feed.close()
        if self._ingest is not None:
            self._ingest.request_stop()
        if self._scorer is not None:
            self._scorer.cancel()

    async def read_demand(self) -> Demand | None:
        """What of the watches' work is left, and the rows that this process has done; None while that is not known.

        Reads the database at a limited rate, as /metrics does.
        """
        if self._watch_reader is None:
            return None
        await self._watch_reader.refresh(READ_WATCHES_S)
        watches = self._watch_reader.latest
        return None if watches is None else Demand(watches, self._telemetry.metrics.ingest.events_handled)

    @property
    def metrics(self) -> Metrics:
        """The metrics of the process; `refresh_gauges` brings those that are read on demand up to date."""
        return self._telemetry.metrics

    async def refresh_gauges(self) -> None:
        """Takes a second or two at most, whatever the database does."""
        await self._parts.refresh_gauges(self._telemetry.metrics, self._watch_reader)

    @asynccontextmanager
    async def _lifespan(self, _application: Starlette) -> AsyncIterator[None]:
        async with self.running():
            yield

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keeps everything open inside the block. Loads the model in the background, while requests are served."""
        async with (
            self._sending_traces(),
            self._open_database(),
            self.supervisor.running("events", self._feed.run()),
            self.supervisor.running("api-keys", self._keys.follow_file()),
            self.supervisor.running("event-loop-lag", self._telemetry.metrics.process.measure_loop_lag()),
            self.supervisor.running("sidecar", self._run()) as task,
        ):
            try:
                yield
            finally:
                self.request_stop()
                self._closing.set()
                if self._parts.models is not None:  # else it is still loading, which is cancelled
                    await asyncio.wait([task], timeout=self._time_left_s(0))

    async def _run(self) -> None:
        """Loads and tests the model, then serves it until the process stops."""
        async with background(self._tell_of_loading(), "loading-message"):
            encoders = await in_daemon_thread("model-loading", self._load)
        encoder = encoders[0]
        devices = self._devices = self._parts.devices = Devices(encoders, device_limits(self._settings, encoder))
        flaw = await self._test_all(devices)
        model = ModelInfo(encoder.model_id, encoder.fingerprint, encoder.dimensions)
        self._parts.model = model
        by_name = {device.name: device.encoder for device in devices}
        self._telemetry.metrics.device.set_model(model.id, model.fingerprint, model.dim, by_name)
        if flaw is None:
            await self._serve(devices, model)
        else:
            self.readiness.mark_unfit(flaw)
            logger.error("%s", flaw)
            await self._closing.wait()

    async def _serve(self, devices: Devices, model: ModelInfo) -> None:
        """Opens everything that needs the model, and keeps it open until the process stops."""
        encoder = devices.encoder
        async with self._open_decoders(encoder) as decoders:
            batcher = Batcher(devices, BatchSettings.from_settings(self._settings), self._telemetry)
            embedder = Embedder(
                encoder,
                batcher,
                decoders,
                ingest_decodes=self._settings.decode_processes,
                query_cache_bytes=self._settings.query_cache_bytes,
                max_picture_views=self._settings.max_picture_views,
            )
            async with (
                self.supervisor.running("batcher", batcher.run()),
                self._reranking(batcher) as reranker,
                self._answering_sql(embedder, encoder),
                self._ingesting(embedder, encoder),
            ):
                self._parts.models = Models(
                    embedder=embedder,
                    embedding_model=model,
                    lane_depth=batcher.depth,
                    pair_scale=encoder.pair_scale,
                    uses_tta=self._settings.enable_tta,
                    reranker=reranker,
                )
                self.readiness.mark_ready()
                async with background(self._announce(devices), "announcement"):
                    await self._closing.wait()

    def _load(self) -> Sequence[Encoder]:
        """One encoder or more. Raises ConfigurationError, and ModelError with a hint. Blocks."""
        if self._settings.encoder_backend == "torch" and self._settings.export_dir is not None:
            logger.warning("EXPORT_DIR is set, but ENCODER_BACKEND is torch: PyTorch runs the model, not the export.")
        try:
            loaded = self._load_encoder(self._settings)
            return loaded if isinstance(loaded, Sequence) else [loaded]
        except ModelError as error:
            if "\nHINT: " in str(error):
                raise
            hint = _MODEL_HINT if self._settings.encoder_backend == "torch" else _EXPORT_HINT
            raise ModelError(f"{error}\nHINT: {hint}") from error

    async def _tell_of_loading(self) -> None:
        await asyncio.sleep(_QUIET_LOADING_S)
        logger.info("Loading %s; until that is done, /readyz answers 503.", self._settings.vision_model_id)

    async def _announce(self, devices: Devices) -> None:
        database = await database_fact(self._settings, self._database)
        for fact in (model_fact(self._settings, devices), database):
            fact.log()
        self._on_ready()

    async def _test_all(self, devices: Devices) -> str | None:
        """Why the model must not be used, None if it passed its self-test on one device at least.

        The devices on which it did not are lost. Raises what the device raised if there is only one, or all failed.
        """
        tests = [device.health.guard(in_daemon_thread("self-test", partial(self._test, device))) for device in devices]
        outcomes = await asyncio.gather(*tests, return_exceptions=True)
        failed = [(device, outcome) for device, outcome in zip(devices, outcomes, strict=True) if outcome is not None]
        if len(failed) == len(devices) or any(not isinstance(outcome, str | DeviceError) for _, outcome in failed):
            for _, outcome in failed:
                if isinstance(outcome, BaseException):
                    raise outcome
            return str(failed[0][1])
        for device, outcome in failed:
            device.health.record_loss(str(outcome))
        return None

    def _test(self, device: Device) -> str | None:
        """Why the model must not be used on a device, None if it passed its self-test. Blocks."""
        try:
            with device.health.call("the model's self-test"):
                run_self_test(device.encoder, find_golden(self._settings.vision_model_id, self._settings.export_dir))
        except ModelError as error:
            return f"The model failed its self-test: {error}"
        return None

    @asynccontextmanager
    async def _sending_traces(self) -> AsyncIterator[None]:
        """Exports traces inside the block. A collector that is down delays the end by _TRACES_SHARE at most."""
        traces = self._telemetry.traces
        if not traces.enabled:
            yield
            return
        traces.start()
        try:
            yield
        finally:
            timeout_s = min(self._time_left_s(0), _TRACES_SHARE * self._settings.shutdown_timeout_s)
            await in_daemon_thread("trace-export-end", partial(traces.close, timeout_s))

    @asynccontextmanager
    async def _open_database(self) -> AsyncIterator[None]:
        """The database of /status, /metrics and /search, open inside the block; ingest has connections of its own."""
        database, reader = self._database, self._watch_reader
        if database is None or reader is None:
            yield
            return
        await database.open()
        try:
            async with (
                self.supervisor.running("watch-reader", reader.run()),
                self.supervisor.running("key-check", KeyCheck(self._keys, database).run()),
                self._following_standby(),
            ):
                if self._parts.ingests:  # which notices by itself
                    yield
                else:
                    async with self.supervisor.running("database-watch", database.keep_watch()):
                        yield
        finally:
            await database.close()

    @asynccontextmanager
    async def _following_standby(self) -> AsyncIterator[None]:
        """The connections to SEARCH_DATABASE_URL, open inside the block, and compared with the primary."""
        standby, reads = self._standby, self._reads
        if standby is None or reads is None:
            yield
            return
        await standby.open()
        try:
            async with self.supervisor.running("standby", reads.follow()):
                yield
        finally:
            await standby.close()

    @asynccontextmanager
    async def _open_decoders(self, encoder: Encoder) -> AsyncIterator[DecoderPool]:
        decoding = DecoderSettings.from_settings(self._settings, encoder.view_size, framing_of(encoder))
        decoders = DecoderPool(decoding, self._telemetry)
        await decoders.start()
        self._parts.decoders = decoders
        try:
            yield decoders
        finally:
            await decoders.close()

    @asynccontextmanager
    async def _reranking(self, batcher: Batcher) -> AsyncIterator[Reranker | None]:
        """The reranker, None with RERANK=off. RERANK=start loads its model in the background, after the first model."""
        if self._settings.rerank == "off":
            yield None
            return
        load = partial(self._load_scorers, batcher.devices)
        self._scorer = scorer = LazyScorer(lambda: in_daemon_thread("rerank-model-loading", load))
        if self._settings.rerank == "start":
            scorer.start()
        try:
            yield Reranker(self._settings.rerank_model_id, scorer, batcher)
        finally:
            await scorer.close()

    def _load_scorers(self, devices: Devices) -> PairScorer:
        """The cross-encoder, with a copy on each device that works, so that any of them scores pairs. Blocks."""
        if len(devices) == 1:
            return self._load_scorer(self._settings, devices[0].health.call)
        copies = [
            (device.encoder, self._load_scorer(device_settings(self._settings, device), device.health.call))
            for device in devices.working or devices
        ]
        return ScorerCopies(copies)

    @asynccontextmanager
    async def _ingesting(self, embedder: Embedder, encoder: Encoder) -> AsyncIterator[None]:
        if not self._parts.ingests:
            yield
            return
        self._ingest = Ingest(self._settings, embedder, encoder, self._telemetry, self._outage)
        async with self.supervisor.running("ingest", self._ingest.run()) as task:
            try:
                yield
            finally:
                self._ingest.request_stop()
                await asyncio.wait([task], timeout=self._time_left_s(_CLOSING_SHARE))

    @asynccontextmanager
    async def _answering_sql(self, embedder: Embedder, encoder: Encoder) -> AsyncIterator[None]:
        if self._database is None or not self._settings.sql_queries:
            yield
            return
        server = QueryServer(self._settings, embedder, encoder, self._telemetry, self._outage)
        async with self.supervisor.running("sql-queries", server.run()):
            yield

    def _time_left_s(self, reserved_share: float) -> float:
        """The time until the stop is due, less a share of SHUTDOWN_TIMEOUT_S for what is closed afterwards."""
        left_s = self._stop_by - asyncio.get_running_loop().time()
        return max(left_s - reserved_share * self._settings.shutdown_timeout_s, 0)


@asynccontextmanager
async def _no_lifespan(_application: Starlette) -> AsyncIterator[None]:
    yield


def _open_standby(settings: Settings) -> Database | None:
    url = settings.search_database_url
    return Database(standby_url(url), max_connections=settings.database_pool_size) if url else None
