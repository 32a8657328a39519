"""What the process knows about itself: filled in by `sidecar.app`, told by the endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial

from sidecar.batching.batcher import Batcher
from sidecar.batching.device_health import DeviceHealth, HealthLimits
from sidecar.batching.job import Lane
from sidecar.batching.lane_queue import LaneDepth
from sidecar.config import Settings
from sidecar.http.access import Access
from sidecar.http.images.name_resolution import NameResolver
from sidecar.http.images.sources import ImageSources
from sidecar.http.images.urls import FetchLimits, ImageUrls
from sidecar.http.key_ring import KeyRing
from sidecar.http.service import NotReady, ReadWatches, RequestLimits, ServedModel, Serving
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.postgres.database import Database
from sidecar.postgres.status import read_status
from sidecar.postgres.watch_reader import WatchReader
from sidecar.supervisor import Supervisor, in_daemon_thread
from sidecar.telemetry.metrics.device import DeviceFacts
from sidecar.telemetry.objectives import ObjectiveMetrics, Objectives
from sidecar.telemetry.telemetry import Telemetry, open_traces

_LOADING_RETRY_S = 5.0
_DEVICE_RETRY_S = 1.0
_USUAL_VIEWS = 32
_CPU_TIMEOUT_S = 600.0  # a slow one takes 128 s
_GPU_TIMEOUT_S = 60.0
_READ_WATCHES_S = 1.0  # a scrape waits no longer for the database


class ServiceState:
    """A `Service`. What `sidecar.app` has not set yet is None.

    `unfit` says why a loaded model must not be used. Raises ConfigurationError where keys cannot be read.
    """

    def __init__(self, settings: Settings, supervisor: Supervisor) -> None:
        self.keys = KeyRing(settings.api_keys, settings.api_keys_file)
        self.cors_origins = settings.cors_allow_origins
        self.root_path = settings.root_path.rstrip("/")
        self.model_aliases = settings.aliases_of(settings.vision_model_id)
        self.rerank_aliases = settings.aliases_of(settings.rerank_model_id)
        self.access = Access(self.keys, anonymous=settings.allow_anonymous, cors_origins=self.cors_origins)
        url = settings.database_url
        self.database = Database(url, settings.listen_database_url, settings.database_pool_size) if url else None
        self.health = DeviceHealth(_health_limits(settings))
        self.batcher: Batcher | None = None
        self.loaded: ServedModel | None = None
        self.unfit: str | None = None
        self.opened: Serving | None = None
        self.decoders: DecoderPool | None = None
        self.objectives = Objectives(settings)
        self.telemetry = Telemetry(traces=open_traces(settings), observers=[self.objectives])
        self.telemetry.metrics.registry.register(ObjectiveMetrics(self.objectives))
        metrics = self.telemetry.metrics
        self.watch_reader = WatchReader(self.database, metrics.watches) if self.database else None
        self.images = ImageSources(settings.max_image_bytes, _image_urls(settings))
        self._settings = settings
        self._supervisor = supervisor

    @property
    def ingests(self) -> bool:
        """Whether this process embeds rows."""
        return self.database is not None and self._settings.ingest

    @property
    def limits(self) -> RequestLimits:
        return RequestLimits(
            max_body_bytes=self._settings.max_body_bytes,
            max_uploads_bytes=self._settings.max_uploads_bytes,
            max_batch_texts=self._settings.max_batch_texts,
            max_text_chars=self._settings.max_text_chars,
            max_image_bytes=self._settings.max_image_bytes,
            max_batch_images=self._settings.max_batch_images,
            max_rerank_documents=self._settings.max_rerank_documents,
            max_search_rows=self._settings.max_search_rows,
            timeout_s=self._settings.request_timeout_s,
        )

    @property
    def serving(self) -> Serving:
        """Also while stopping, for the requests in flight. Raises NotReady, also while the device fails or hangs: what
        is sent to it would wait in vain, and it recovers without.
        """
        if self.opened is None:
            self.check_ready()
            raise AssertionError("ready without a way to a vector: this is a bug")
        self._check_device()
        return self.opened

    @property
    def model(self) -> ServedModel | None:
        return self.loaded

    @property
    def lanes(self) -> Mapping[str, LaneDepth]:
        if self.batcher is None:
            return {}
        return {lane.value: self.batcher.depth(lane) for lane in Lane}

    @property
    def ingest_state(self) -> str:
        if not self.ingests:
            reason = "DATABASE_URL is not set" if self.database is None else "INGEST=0"
            return f"off: REST only, {reason}"
        if self._supervisor.failure is not None:
            return "ending"
        if self._supervisor.stopping:
            return "stopping"
        return "starting" if self.opened is None else "running"

    @property
    def rerank_state(self) -> str:
        if self._settings.rerank == "off":
            return "off"
        reranker = self.opened.reranker if self.opened else None
        return "not loaded yet" if reranker is None else reranker.state

    @property
    def read_watches(self) -> ReadWatches | None:
        return None if self.database is None else partial(read_status, self.database)

    async def refresh_gauges(self) -> None:
        metrics = self.telemetry.metrics
        metrics.process.ready.set(self._is_ready())
        metrics.device.trouble.set(self.health.trouble is not None)
        for lane, depth in self.lanes.items():
            metrics.lanes.set_depth(lane, **asdict(depth))
        if self.opened is not None:
            metrics.cache.set_bytes(self.opened.embedder.query_cache_bytes)
        if self.decoders is not None:
            metrics.decoders.set_processes(self.decoders.alive, self._settings.decode_processes)
        if self.watch_reader is not None:
            await self.watch_reader.refresh(_READ_WATCHES_S)

    def _is_ready(self) -> bool:
        try:
            self.check_ready()
        except NotReady:
            return False
        return True

    def know_device(self, encoder: object) -> None:
        """A GPU takes milliseconds where a CPU takes minutes, which is another idea of hanging."""
        is_gpu = isinstance(encoder, DeviceFacts) and encoder.device_name not in {"cpu", "mps"}
        if is_gpu:
            timeout_s = _device_timeout_s(self._settings, _GPU_TIMEOUT_S)
            self.health.limits = replace(self.health.limits, timeout_s=timeout_s)

    def _check_device(self) -> None:
        if (trouble := self.health.trouble) is not None:
            raise NotReady("device_failed", f"{trouble}.", _DEVICE_RETRY_S)

    def check_ready(self) -> None:
        """Raises NotReady unless queries can be embedded and every task is alive."""
        if self._supervisor.failure is not None:
            raise NotReady("failed", f"The process is ending: {self._supervisor.failure}")
        if self._supervisor.stopping:
            raise NotReady("stopping", "The process is shutting down.")
        if self.unfit is not None:
            raise NotReady("model_failed", self.unfit)
        self._check_device()
        if self.opened is None:
            raise NotReady("model_loading", "The model is loading. Try again in a moment.", _LOADING_RETRY_S)


def _health_limits(settings: Settings) -> HealthLimits:
    """Until the device is known, those of a CPU."""
    return HealthLimits(
        settings.device_max_failures, _device_timeout_s(settings, _CPU_TIMEOUT_S), settings.device_recovery_s
    )


def _device_timeout_s(settings: Settings, usual_s: float) -> float:
    """`usual_s` is for 32 views."""
    if settings.device_timeout_s is not None:
        return settings.device_timeout_s
    return usual_s * max(settings.batch_max_views / _USUAL_VIEWS, 1)


def _image_urls(settings: Settings) -> ImageUrls:
    limits = FetchLimits(settings.allow_image_urls, settings.max_image_bytes, settings.image_url_timeout_s)
    return ImageUrls(limits, NameResolver(in_daemon_thread))
