"""The composition root: opens everything in order, watches over it, closes it in reverse.

    LOADING     serving already: /livez answers, /readyz and the embedding endpoints say 503 `model_loading`
    READY       queries are embedded; with DATABASE_URL and INGEST=1, rows too
    UNFIT       the model is loaded but failed its self-test: /readyz stays at 503 with the reason, the process lives
    TROUBLE     the device fails or hangs (sidecar/batching/device_health.py): /readyz and the embedding endpoints say
                503 `device_failed` with the reason. It recovers, and that leads back to READY, or is given up: FAILED
    STOPPING    asked to: ingest claims no more and finishes or gives back what it has; requests in hand are answered
    FAILED      the model cannot be loaded, the device was given up, or a task died: /readyz says so, and the process
                ends, with an exit code that is not 0

`sidecar serve` (sidecar/server.py) owns its server and ends it in order. Under a bare `uvicorn --factory
sidecar.app:create_app` the process sends itself SIGTERM instead, and uvicorn ends as if killed by it (143). There,
ingest hears of a stop only after the last connection is closed: give it `--timeout-graceful-shutdown 5`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

from starlette.applications import Starlette

from sidecar.batching.batcher import Batcher
from sidecar.batching.device_health import DeviceCall
from sidecar.batching.embedder import Embedder
from sidecar.batching.encoder import Encoder, PairScorer, framing_of
from sidecar.batching.lanes import BatchSettings
from sidecar.batching.reranker import Reranker, ScorerLoading
from sidecar.config import Settings, let_waiting_threads_sleep, load_settings
from sidecar.errors import ConfigurationError, ModelError
from sidecar.http.application import make_http_application
from sidecar.http.service import ServedModel, Serving
from sidecar.ingest.ingest import Ingest
from sidecar.model.golden import find_golden
from sidecar.model.selftest import run_self_test
from sidecar.pictures.decoder.pool import DecoderPool, DecoderSettings
from sidecar.service_state import ServiceState
from sidecar.supervisor import EXIT_CONFIGURATION, Supervisor, in_daemon_thread
from sidecar.telemetry.logs.configuration import configure_logging

logger = logging.getLogger(__name__)

LoadEncoder: TypeAlias = Callable[[Settings], Encoder]
LoadScorer: TypeAlias = Callable[[Settings, DeviceCall], PairScorer]

_EXIT_SHARE, _MAX_EXIT_S = 0.1, 1.0  # of SHUTDOWN_TIMEOUT_S, for the end of the interpreter
_CLOSING_SHARE = 0.2  # of SHUTDOWN_TIMEOUT_S, kept for what is closed after ingest
_TRACES_SHARE = 0.1  # of SHUTDOWN_TIMEOUT_S, at most, for the last traces


def load_siglip(settings: Settings) -> Encoder:
    """The model that the settings name. Blocks; imports torch, which takes seconds, only now."""
    let_waiting_threads_sleep()
    from sidecar.model.loading import load_encoder

    return load_encoder(settings)


def load_reranker(settings: Settings, device_call: DeviceCall) -> PairScorer:
    """The cross-encoder that the settings name. Blocks; imports torch and sentence-transformers only now."""
    let_waiting_threads_sleep()
    from sidecar.model.reranker.loading import load_cross_encoder

    return load_cross_encoder(settings, device_call)


def create_app(
    settings: Settings | None = None,
    *,
    load_encoder: LoadEncoder = load_siglip,
    load_scorer: LoadScorer = load_reranker,
) -> Starlette:
    """For `uvicorn --factory sidecar.app:create_app`: settings from the environment; wrong ones exit with code 2."""
    try:
        if settings is None:
            settings = load_settings()
            configure_logging(settings)
        end = partial(os.kill, os.getpid(), signal.SIGTERM)
        sidecar = Sidecar(settings, load_encoder, on_failure=end, load_scorer=load_scorer)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(EXIT_CONFIGURATION) from error
    return sidecar.make_app()


class Sidecar:
    """All that runs behind the REST edge. `on_failure` has to stop the server; `supervisor` knows the exit code."""

    def __init__(
        self,
        settings: Settings,
        load_encoder: LoadEncoder,
        on_failure: Callable[[], None],
        load_scorer: LoadScorer = load_reranker,
    ) -> None:
        self.supervisor = Supervisor(on_failure)
        self._settings = settings
        self._load_encoder = load_encoder
        self._load_scorer = load_scorer
        self._state = ServiceState(settings, self.supervisor)
        self._ingest: Ingest | None = None
        self._rerank_loading: ScorerLoading | None = None
        self._stop_by = 0.0  # on the loop's clock
        self._closing = asyncio.Event()

    def make_app(self) -> Starlette:
        return make_http_application(self._state, self._lifespan)

    def request_stop(self) -> None:
        """Claim no more rows, and be closed within SHUTDOWN_TIMEOUT_S. May be repeated."""
        if self.supervisor.stopping:
            return
        self.supervisor.stop()
        timeout_s = self._settings.shutdown_timeout_s
        timeout_s -= min(_EXIT_SHARE * timeout_s, _MAX_EXIT_S)
        self._stop_by = asyncio.get_running_loop().time() + timeout_s
        if self._ingest is not None:
            self._ingest.request_stop()
        if self._rerank_loading is not None:
            self._rerank_loading.give_up()

    @asynccontextmanager
    async def _lifespan(self, _application: Starlette) -> AsyncIterator[None]:
        """Serving starts at once; the model is loaded behind it."""
        async with (
            self._sending_traces(),
            self._open_database(),
            self.supervisor.running("api-keys", self._state.keys.follow_file()),
            self.supervisor.running("event-loop-lag", self._state.telemetry.metrics.process.measure_loop_lag()),
            self.supervisor.running("sidecar", self._run()) as task,
        ):
            try:
                yield
            finally:
                self.request_stop()
                self._closing.set()
                if self._state.opened is not None:  # else it is still loading, which is cut off
                    await asyncio.wait([task], timeout=self._time_left_s(0))

    async def _run(self) -> None:
        encoder = await in_daemon_thread("model-loading", partial(self._load_encoder, self._settings))
        self._state.know_device(encoder)
        await self._state.health.watched(in_daemon_thread("self-test", partial(self._test, encoder)))
        model = ServedModel(encoder.model_id, encoder.fingerprint, encoder.dimensions)
        self._state.loaded = model
        self._state.telemetry.metrics.device.set_model(model.id, model.fingerprint, model.dim, encoder)
        if self._state.unfit is not None:
            logger.error("%s", self._state.unfit)
            await self._closing.wait()
            return
        async with self._open_decoders(encoder) as decoders:
            settings = BatchSettings.from_settings(self._settings)
            batcher = Batcher(encoder, settings, self._state.telemetry, self._state.health)
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
                self._ingesting(embedder, encoder),
            ):
                self._state.batcher = batcher
                self._state.opened = Serving(embedder, model, encoder.pair_scale, self._settings.enable_tta, reranker)
                logger.info("Ready: %s", encoder.model_id)
                await self._closing.wait()

    def _test(self, encoder: Encoder) -> None:
        """In a thread of its own. A model that fails its test answers nothing, but the process stays to say why."""
        try:
            with self._state.health.call("the model's self-test"):
                run_self_test(encoder, find_golden(self._settings.vision_model_id))
        except ModelError as error:
            self._state.unfit = f"The model failed its self-test: {error}"

    @asynccontextmanager
    async def _sending_traces(self) -> AsyncIterator[None]:
        """A collector that is down holds up the end for a moment, no longer."""
        traces = self._state.telemetry.traces
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
        """For /status and /metrics only; ingest has connections of its own."""
        database, reader = self._state.database, self._state.watch_reader
        if database is None or reader is None:
            yield
            return
        await database.open()
        try:
            async with self.supervisor.running("watch-reader", reader.run()):
                yield
        finally:
            await database.close()

    @asynccontextmanager
    async def _open_decoders(self, encoder: Encoder) -> AsyncIterator[DecoderPool]:
        decoding = DecoderSettings.from_settings(self._settings, encoder.view_size, framing_of(encoder))
        decoders = DecoderPool(decoding, self._state.telemetry)
        await decoders.start()
        self._state.decoders = decoders
        try:
            yield decoders
        finally:
            await decoders.close()

    @asynccontextmanager
    async def _reranking(self, batcher: Batcher) -> AsyncIterator[Reranker | None]:
        """With RERANK=start the cross-encoder is loaded behind the main model, and nobody waits for it."""
        if self._settings.rerank == "off":
            yield None
            return
        load = partial(self._load_scorer, self._settings, self._state.health.call)
        self._rerank_loading = loading = ScorerLoading(lambda: in_daemon_thread("rerank-model-loading", load))
        if self._settings.rerank == "start":
            loading.start()
        try:
            yield Reranker(self._settings.rerank_model_id, loading, batcher)
        finally:
            await loading.close()

    @asynccontextmanager
    async def _ingesting(self, embedder: Embedder, encoder: Encoder) -> AsyncIterator[None]:
        if not self._state.ingests:
            yield
            return
        self._ingest = Ingest(self._settings, embedder, encoder, self._state.telemetry)
        async with self.supervisor.running("ingest", self._ingest.run()) as task:
            try:
                yield
            finally:
                self._ingest.request_stop()
                await asyncio.wait([task], timeout=self._time_left_s(_CLOSING_SHARE))

    def _time_left_s(self, reserved_share: float) -> float:
        """Until the stop is due, less a share of the whole that others need afterwards."""
        left_s = self._stop_by - asyncio.get_running_loop().time()
        return max(left_s - reserved_share * self._settings.shutdown_timeout_s, 0)
