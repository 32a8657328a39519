"""The workers of `sidecar backfill`: sidecars without HTTP, which embed rows until they are stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import uvloop

from sidecar.app import LoadEncoder, Sidecar, load_embedding_model
from sidecar.config import Settings
from sidecar.errors import SidecarError
from sidecar.supervisor import log_failure

_JOIN_SHARE = 1.2  # of SHUTDOWN_TIMEOUT_S, within which a sidecar stops


class WorkerFailed(SidecarError):
    """The worker could not start, or ended by itself."""


def settings_of_worker(settings: Settings) -> Settings:
    """The settings, for a process that does nothing but embed rows."""
    return settings.model_copy(update={"ingest": True, "rerank": "off", "query_cache_bytes": 0})


class IngestWorker:
    """Runs a sidecar in the loop that calls `run`. Attributes may be read from other threads.

    `error`: why it ended by itself; None while it runs. `on_end` is called when it begins to end by itself.
    """

    def __init__(
        self,
        settings: Settings,
        load_encoder: LoadEncoder = load_embedding_model,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.error: SidecarError | None = None
        self._on_end = on_end
        self._stop = asyncio.Event()
        self._sidecar = Sidecar(settings_of_worker(settings), load_encoder, self._end, report=self._report)
        self._sidecar.make_app(has_lifespan=False)  # unused

    @property
    def is_ready(self) -> bool:
        """Whether its model is loaded and can be used."""
        return self._sidecar.readiness.error() is None

    @property
    def has_started(self) -> bool:
        """Whether the start is over, with success or not."""
        return self._sidecar.readiness.has_started

    async def run(self) -> None:
        """Embeds rows until `stop`, or until it fails; then gives back what it has in flight."""
        async with self._sidecar.running():
            await self._stop.wait()

    def stop(self) -> None:
        self._stop.set()

    def _report(self, error: SidecarError) -> None:
        self.error = error
        log_failure(error)

    def _end(self) -> None:
        self.error = self.error or WorkerFailed(self._sidecar.supervisor.failure or "the worker ended")
        self._stop.set()
        self._on_end()


class LocalWorker:
    """An IngestWorker in a thread of this process, started at once."""

    def __init__(self, settings: Settings, load_encoder: LoadEncoder = load_embedding_model) -> None:
        self._settings = settings
        self._load_encoder = load_encoder
        self._worker: IngestWorker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="backfill", daemon=True)
        self._thread.start()

    def check(self) -> list[str]:
        """Nothing to tell. Raises the worker's error if it has ended, and WorkerFailed for a model that is unfit."""
        if self._error is not None:
            raise self._error
        worker = self._worker
        if worker is not None and worker.has_started and worker.error is not None:
            raise worker.error
        if not self._thread.is_alive():
            raise WorkerFailed("the worker ended")
        return []

    @property
    def is_working(self) -> bool:
        """Whether it has loaded its model."""
        return self._worker is not None and self._worker.is_ready

    def stop(self) -> None:
        """Stops the worker in order, within SHUTDOWN_TIMEOUT_S. May be repeated."""
        if self._loop is not None and self._worker is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._worker.stop)
        self._thread.join(_JOIN_SHARE * self._settings.shutdown_timeout_s)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._work())
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits
            self._error = error

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker = IngestWorker(self._settings, self._load_encoder)
        await self._worker.run()
        if self._worker.error is not None:
            raise self._worker.error
