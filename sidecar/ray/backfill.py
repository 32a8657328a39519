"""Workers of `sidecar backfill --ray`: an actor for each GPU, which embeds rows and does nothing else.

Postgres is the queue, so that a worker needs to be told nothing: it claims rows under leases, as every sidecar. When a
worker dies, others take over its rows at once, and Ray starts it again where there is room.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from sidecar.app import LoadEncoder, load_embedding_model
from sidecar.backfill import IngestWorker, WorkerFailed
from sidecar.config import Settings
from sidecar.error_lines import describe
from sidecar.process_exit import exit_despite_threads
from sidecar.ray.environment import Environment
from sidecar.ray.options import RayOptions

logger = logging.getLogger(__name__)

_RESTARTS = 20
_MAX_WORKERS = 1000


@dataclass(frozen=True, slots=True)
class WorkerState:
    """`error`: why it cannot start."""

    host: str
    pid: int
    is_ready: bool
    error: str | None


class BackfillActor:
    """One worker, in a process of its own. A worker that fails once it was ready ends the process: Ray restarts it."""

    def __init__(self, environment: Environment, options: RayOptions, load_encoder: LoadEncoder) -> None:
        self._error: str | None = None
        self._was_ready = False
        self._settings = environment.adopt(options)
        self._load_encoder = load_encoder
        self._worker: IngestWorker | None = None
        self._life: asyncio.Task[None] | None = None

    async def state(self) -> WorkerState:
        """Starts the worker, the first time."""
        if self._life is None:
            self._worker = IngestWorker(self._settings, self._load_encoder)
            self._life = asyncio.create_task(self._live(self._worker), name="backfill")
        is_ready = self._worker is not None and self._worker.is_ready
        self._was_ready = self._was_ready or is_ready
        return WorkerState(socket.gethostname(), os.getpid(), is_ready, self._error)

    async def stop(self) -> None:
        """Gives back what is in flight, within SHUTDOWN_TIMEOUT_S."""
        if self._worker is not None and self._life is not None:
            self._worker.stop()
            await asyncio.wait([self._life])

    async def _live(self, worker: IngestWorker) -> None:
        await worker.run()
        if worker.error is not None:
            if self._was_ready:
                exit_despite_threads(1)
            self._error = describe(worker.error)


class RayWorkers:
    """The workers of a cluster that this process is connected to.

    `count` None: as many as the cluster has room for, also when it grows.
    """

    def __init__(
        self,
        settings: Settings,
        options: RayOptions,
        count: int | None,
        load_encoder: LoadEncoder = load_embedding_model,
    ) -> None:
        self._settings = settings
        self._count = count
        self._resources = {"num_gpus": options.gpus(settings), "num_cpus": options.cpus(settings)}
        self._arguments = (Environment.of_this_process(), options, load_encoder)
        self._actors: list[Any] = []
        self._asked: dict[int, Any] = {}  # by the worker's number
        self._states: dict[int, WorkerState] = {}
        self._dead: set[int] = set()

    @property
    def is_working(self) -> bool:
        """Whether a worker has loaded its model."""
        return any(state.is_ready for state in self._states.values())

    def check(self) -> list[str]:
        """What has changed, a line each. Raises WorkerFailed once no worker is left that could go on."""
        lines = self._grow()
        for number, actor in enumerate(self._actors):
            if number not in self._dead:
                lines += self._check_worker(number, actor)
        if len(self._dead) == len(self._actors):
            raise WorkerFailed(f"all {len(self._dead)} workers have failed, the last one: {lines[-1]}")
        return lines

    def stop(self) -> None:
        """Stops all workers in order, and lets go of what they reserved."""
        stopping = [self._actors[number].stop.remote() for number in self._started()]
        if stopping:
            ray.wait(stopping, num_returns=len(stopping), timeout=self._settings.shutdown_timeout_s)
        for actor in self._actors:
            ray.kill(actor)
        self._actors.clear()
        self._states.clear()

    def _started(self) -> set[int]:
        """The workers that may have rows: those that have answered at least once, read or not."""
        answered = [number for number, asked in self._asked.items() if ray.wait([asked], timeout=0)[0]]
        return {*self._states, *answered} - self._dead

    def _grow(self) -> list[str]:
        wanted = self._count or self._room()
        new = range(len(self._actors), max(wanted, 1))
        for _ in new:
            actor_class = ray.remote(BackfillActor).options(
                **self._resources, max_restarts=_RESTARTS, scheduling_strategy="SPREAD"
            )
            self._actors.append(actor_class.remote(*self._arguments))
        return [f"{len(self._actors)} workers ({len(new)} new)"] if new else []

    def _room(self) -> int:
        """Workers for which the whole cluster has resources."""
        have, need = ray.cluster_resources(), self._resources
        rooms = [
            int(have.get(name, 0.0) / need[option])
            for name, option in (("GPU", "num_gpus"), ("CPU", "num_cpus"))
            if need[option]
        ]
        return min(*rooms, _MAX_WORKERS) if rooms else 1

    def _check_worker(self, number: int, actor: Any) -> list[str]:
        asked = self._asked.setdefault(number, actor.state.remote())
        if not ray.wait([asked], timeout=0)[0]:
            return []
        del self._asked[number]
        try:
            state: WorkerState = ray.get(asked)
        except RayActorError as error:
            return self._record_loss(number, error)
        except RayError as error:
            self._dead.add(number)
            return [f"worker {number + 1} failed: {_last_line(error)}"]
        before, self._states[number] = self._states.get(number), state
        if state.error is not None:
            self._dead.add(number)
            return [f"worker {number + 1} on {state.host} cannot start: {state.error}"]
        if state.is_ready and (before is None or not before.is_ready or before.pid != state.pid):
            return [f"worker {number + 1} is ready: process {state.pid} on {state.host}"]
        return []

    def _record_loss(self, number: int, error: RayActorError) -> list[str]:
        before = self._states.pop(number, None)
        if type(error) is RayActorError or "ActorDiedError" in type(error).__name__:
            self._dead.add(number)
            return [f"worker {number + 1} is lost: {_last_line(error)}"]
        where = f" on {before.host}" if before else ""
        return [f"worker {number + 1}{where} died; Ray starts it again"] if before else []


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
