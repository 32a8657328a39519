"""One replica: a whole sidecar in an actor of Ray Serve, which does its HTTP.

Serve starts it in a process of its own, sends it requests once `__serve_build_asgi_app__` has returned, asks
`check_health` every few seconds, and calls `__del__` to stop it. A sidecar that ends by itself (a lost device, a task
that died) ends this process, as it does `sidecar serve`; Serve starts another one.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.applications import Starlette

from sidecar.app import LoadEncoder, Sidecar, load_embedding_model
from sidecar.concurrency import background
from sidecar.error_lines import describe
from sidecar.errors import SidecarError
from sidecar.process_exit import ExitDeadline, exit_despite_threads
from sidecar.ray.autoscaling import NEEDED, RATE, UNKNOWN
from sidecar.ray.demand import RateMeter, needed_rows_per_s
from sidecar.ray.environment import Environment
from sidecar.ray.metrics_bridge import MetricsBridge
from sidecar.ray.options import RayOptions
from sidecar.readiness import State
from sidecar.supervisor import log_failure

logger = logging.getLogger(__name__)

_POLL_S = 0.05  # the state has no event of its own


class StartFailed(RuntimeError):
    """The sidecar could not start. Not a SidecarError: Ray shows a traceback, of which this is the last line."""


class Replica:
    """A deployment's class, which `serve.ingress` makes an ASGI application."""

    def __init__(
        self, environment: Environment, options: RayOptions, load_encoder: LoadEncoder = load_embedding_model
    ) -> None:
        self._options = options
        self._settings = environment.adopt(options)
        self._load_encoder = load_encoder
        self._rate = RateMeter()
        self._stop = asyncio.Event()
        self._error: SidecarError | None = None
        self._has_started = False
        self._life: asyncio.Task[None] | None = None

    async def __serve_build_asgi_app__(self) -> Starlette:
        """Starts the sidecar, and returns once queries are embedded. Raises StartFailed."""
        settings = self._settings
        self._sidecar = Sidecar(settings, self._load_encoder, self._end, report=self._keep_error)
        self._deadline = ExitDeadline(settings.shutdown_timeout_s, lambda: self._sidecar.supervisor.exit_code)
        app = self._sidecar.make_app(has_lifespan=False)
        self._life = life = asyncio.create_task(self._live(), name="sidecar")
        await _until_started(self._sidecar, life)
        error = self._sidecar.readiness.error()
        if life.done() or (error is not None and error.code != State.TROUBLE.value):
            self._stop.set()
            await asyncio.wait([life])
            raise StartFailed(describe(self._error) if self._error else str(error or "the sidecar ended"))
        self._has_started = True
        return app

    async def _live(self) -> None:
        async with self._sidecar.running():
            bridge = MetricsBridge(self._sidecar.metrics.registry, self._sidecar.refresh_gauges)
            async with background(bridge.run(), "metrics-bridge"):
                await self._stop.wait()
        if self._has_started and self._sidecar.supervisor.failure is not None:
            exit_despite_threads(self._sidecar.supervisor.exit_code)

    def _keep_error(self, error: SidecarError) -> None:
        self._error = error
        log_failure(error)

    def _end(self) -> None:
        """Called by the sidecar when it fails: stops it in order, which ends the process once it has started."""
        if self._has_started:
            self._deadline.start()
        self._stop.set()

    async def check_health(self) -> None:
        """Raises RuntimeError while queries cannot be embedded; after three in a row Serve replaces the replica."""
        error = self._sidecar.readiness.error()
        if error is not None and error.code != State.STOPPING.value:
            raise RuntimeError(error.message)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Reads the watches' status, at a limited rate, over a connection of the pool."""
        if self._settings.database_url is None or not self._settings.ingest:
            return {NEEDED: 0.0, RATE: UNKNOWN}
        demand = await self._sidecar.read_demand()
        if demand is None:
            return {NEEDED: UNKNOWN, RATE: UNKNOWN}
        needed = needed_rows_per_s(demand.watches, self._options.target_backlog_s, self._options.target_lag_s)
        return {NEEDED: needed, RATE: self._rate.add(demand.rows_done, has_work=needed > 0)}

    async def __del__(self) -> None:
        """Called by Serve: finishes what is in flight or gives it back, and closes all, in SHUTDOWN_TIMEOUT_S."""
        self._stop.set()
        if self._life is not None:
            await asyncio.wait([self._life])


async def _until_started(sidecar: Sidecar, life: asyncio.Task[None]) -> None:
    while not (sidecar.readiness.has_started or life.done()):  # noqa: ASYNC110
        await asyncio.sleep(_POLL_S)
