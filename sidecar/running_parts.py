"""The parts of the process that are open, as /healthz, /status and the gauges of /metrics report them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sidecar.batching.devices import Devices, DeviceState
from sidecar.batching.job import Lane
from sidecar.batching.lane_queue import LaneDepth
from sidecar.config import Settings
from sidecar.http.models import ModelInfo, Models
from sidecar.pictures.decoder.pool import DecoderPool
from sidecar.postgres.outage import Outage
from sidecar.postgres.watch_reader import WatchReader
from sidecar.readiness import Readiness, State
from sidecar.telemetry.metrics.registry import Metrics

READ_WATCHES_S = 1.0  # a scrape waits no longer for the database


class RunningParts:
    """The open parts: endpoints take their models from `get_models`; /healthz and /metrics report them.

    It is an http.health.ProcessStatus. A part is None until `sidecar.app` has opened it. A model that failed its
    self-test shows as `model`, but `models` stays None.
    """

    def __init__(self, settings: Settings, readiness: Readiness, outage: Outage | None = None) -> None:
        self.model: ModelInfo | None = None
        self.models: Models | None = None
        self.decoders: DecoderPool | None = None
        self.devices: Devices | None = None
        self._settings = settings
        self._readiness = readiness
        self._outage = outage or Outage()

    @property
    def ingests(self) -> bool:
        """Whether this process embeds rows."""
        return self._settings.database_url is not None and self._settings.ingest

    def get_models(self) -> Models:
        """The models once open, also while stopping. Raises NotReady before that, and in device trouble."""
        if self.models is None:
            self._readiness.check()
            raise AssertionError("ready without models: this is a bug")
        self._readiness.check_device()
        return self.models

    def get_decoders(self) -> DecoderPool:
        """The decoder processes once open. Raises NotReady before that."""
        if self.decoders is None:
            self._readiness.check()
            raise AssertionError("ready without decoders: this is a bug")
        return self.decoders

    @property
    def lanes(self) -> Mapping[str, LaneDepth]:
        return {} if self.models is None else {lane.value: self.models.lane_depth(lane) for lane in Lane}

    @property
    def device_states(self) -> Sequence[DeviceState]:
        return [] if self.devices is None else self.devices.states

    @property
    def ingest(self) -> str:
        if not self.ingests:
            reason = "DATABASE_URL is not set" if self._settings.database_url is None else "INGEST=0"
            return f"off: REST only, {reason}"
        match self._readiness.state:
            case State.FAILED:
                return "ending"
            case State.STOPPING:
                return "stopping"
        if self.models is None:
            return "starting"
        return "running" if self._outage.since is None else "waiting for the database"

    @property
    def rerank(self) -> str:
        if self._settings.rerank == "off":
            return "off"
        reranker = self.models.reranker if self.models else None
        return "not loaded yet" if reranker is None else reranker.state

    async def refresh_gauges(self, metrics: Metrics, watch_reader: WatchReader | None) -> None:
        """Sets all gauges that are read on demand. Takes a second or two at most, whatever the database does."""
        metrics.process.ready.set(self._readiness.error() is None)
        states = self.device_states
        metrics.device.trouble.set(bool(states) and all(state.trouble for state in states))
        for state in states:
            metrics.device.working.labels(state.device).set(state.trouble is None)
        for lane, depth in self.lanes.items():
            metrics.lanes.set_depth(lane, **asdict(depth))
        if self.models is not None:
            metrics.cache.set_bytes(self.models.embedder.query_cache_bytes)
        if self.decoders is not None:
            metrics.decoders.set_processes(self.decoders.alive, self._settings.decode_processes)
        if watch_reader is not None:
            await watch_reader.refresh(READ_WATCHES_S)
