"""Keeps the vectors of all watches up to date. Composes the parts of ingest, and runs them together.

    listener ──notification──► wake_up ──► worker: claim → read → encode → write
    scanner ──enqueued─────────►           (batches in flight, and locked rows whose write is retried)
    dead_sidecars ──released───►
    housekeeper: heartbeat, progress, tombstones, and the index keeper once a backlog is done
    label_keeper: embeds labels
    recall_keeper: measures indexes, with RECALL_INTERVAL_S

One row from NOTIFY to vector: postgres/listener → ingest (here) → wake_up → worker → claiming (claim: events.sql) →
batch (read: rows.sql) → decision → encoding (encode: batching/embedder) → writer (write: `complete` in completion.py,
completion.sql). These .sql files and completion.py are in postgres/.

No part ends because the database is unavailable: each waits with a backoff. Any other end of a part is an error that
`run` raises.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from typing import Any
from uuid import uuid4

from sidecar.batching.embedder import Embedder
from sidecar.batching.encoder import Encoder
from sidecar.concurrency import background, running_tasks
from sidecar.errors import DatabaseError, DatabaseUnavailable, SchemaError, WatchChanged
from sidecar.ingest.catalogue import Catalogue
from sidecar.ingest.claiming import WorkFinder
from sidecar.ingest.context import Context, Progress
from sidecar.ingest.dead_sidecars import DeadSidecars
from sidecar.ingest.housekeeper import Housekeeper
from sidecar.ingest.label_keeper import LabelKeeper
from sidecar.ingest.recall_keeper import RecallKeeper
from sidecar.ingest.scanner import Scanner
from sidecar.ingest.wake_up import WakeUp
from sidecar.ingest.worker import Worker
from sidecar.postgres.address import address_problems
from sidecar.postgres.database import Database, reconnect_backoff
from sidecar.postgres.heartbeat import Identity, announce_sleep, sign_off
from sidecar.postgres.listener import Listener
from sidecar.postgres.liveness import LivenessLock
from sidecar.postgres.outage import Outage
from sidecar.postgres.session_guard import SessionGuard
from sidecar.postgres.shipped import code_digest, describe_old_schema, head_revision
from sidecar.postgres.statements import statement
from sidecar.postgres.trouble_log import TroubleLog
from sidecar.settings import Settings
from sidecar.telemetry.telemetry import Telemetry

logger = logging.getLogger(__name__)

RAISE_GENERATION_S = 3600.0


class Ingest:
    """All of ingest; one per process. The settings must have a `database_url`."""

    def __init__(
        self,
        settings: Settings,
        embedder: Embedder,
        encoder: Encoder,
        telemetry: Telemetry | None = None,
        outage: Outage | None = None,
    ) -> None:
        if settings.database_url is None:
            raise ValueError("ingest needs DATABASE_URL")
        self._settings = settings
        self._pair_scale = encoder.pair_scale
        for problem in address_problems(settings.database_url, settings.listen_database_url):
            logger.warning("the database's address: %s", problem)
        url, listen_url = settings.database_url, settings.listen_database_url
        self._database = Database(url, listen_url, settings.database_pool_size, outage)
        identity = Identity(uuid4(), encoder.model_id, encoder.fingerprint, encoder.dimensions)
        catalogue = Catalogue(self._database, identity)
        self._context = Context(
            *(settings, self._database, embedder, identity, catalogue, Progress(), telemetry or Telemetry()),
            *(LivenessLock(identity.id), SessionGuard(self._database)),
        )
        self._listener: Listener | None = None
        self._stop = asyncio.Event()

    def request_stop(self) -> None:
        """Ends claiming; `run` returns when everything in flight is finished or released."""
        self._stop.set()

    async def run(self) -> None:
        """Runs ingest until `request_stop`. Raises the error of a part that ended unexpectedly."""
        try:
            await self._database.open()
            if await self._stopped_before(self._await_schema()):
                return
            await self._run_parts()
        finally:
            await self._sign_off()

    async def _run_parts(self) -> None:
        context = self._context
        wake_up = WakeUp(self._settings.poll_interval_s, self._mark_asleep)
        finder = WorkFinder(self._database, context.horizon)
        worker = Worker(context, wake_up, finder)
        listener = self._listener = Listener(
            self._database.direct_url,
            lambda channel: self._on_notification(channel, wake_up),
            context.telemetry,
            context.liveness,
            self._database.outage,
        )
        scanner = Scanner(context, finder, worker.expect_events, lambda: self._reload_watches(wake_up))
        parts = {
            "ingest-guard": context.guard.run(),
            "ingest-worker": worker.run(),
            "ingest-listener": listener.run(),
            "ingest-scanner": scanner.run(),
            "ingest-housekeeper": Housekeeper(context).run(),
            "ingest-labels": LabelKeeper(context, self._pair_scale).run(),
            "ingest-dead-sidecars": DeadSidecars(context, worker.expect_events).run(),
        }
        if self._settings.recall_interval_s:
            parts["ingest-recall"] = RecallKeeper(context).run()
        async with running_tasks(parts) as tasks, background(self._wait_for_stop(), "ingest-stop") as stop:
            await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
            worker.stop()
            if not any(t.done() for t in tasks):
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for ended in tasks:
                if ended.done():
                    ended.result()

    async def _await_schema(self) -> None:
        """Waits until the database is available and migrated."""
        backoff = reconnect_backoff()
        trouble = TroubleLog(logger, "ingest waits for the database")
        while True:
            try:
                await self._check_schema()
            except DatabaseUnavailable as error:
                self._database.report(error)
                await asyncio.sleep(backoff.next_s())
            except DatabaseError as error:
                self._database.report_success()
                trouble.report(self._database.with_hint(error))
                await asyncio.sleep(backoff.next_s())
            else:
                self._database.report_success()
                trouble.resolve()
                return

    async def _check_schema(self) -> None:
        digest = None
        try:
            async with self._database.connection() as connection:
                revision = await connection.fetchval(statement("schema_revision"))
                if revision is not None and revision >= head_revision():
                    digest = await connection.fetchval(statement("installed_code"))
                    async with connection.transaction():
                        await connection.execute(statement("lift_statement_timeout"))
                        await connection.execute(statement("raise_generation"), timeout=RAISE_GENERATION_S)
        except WatchChanged as error:
            raise SchemaError("this database has no schema `sidecar` yet: run `sidecar migrate`") from error
        if revision is None or revision < head_revision():
            raise SchemaError(f"{describe_old_schema(revision)}: run `sidecar migrate`")
        if revision > head_revision():
            logger.warning("the schema is at %s, this sidecar knows %s: upgrade it soon", revision, head_revision())
        elif digest != code_digest():
            logger.warning(
                "the functions of schema `sidecar` are another version's than this sidecar's: run the `sidecar "
                "migrate` of the newer one"
            )

    async def _stopped_before(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Awaits `coroutine` or a stop, whichever is first. True if a stop was requested."""
        async with running_tasks({"ingest-start": coroutine, "ingest-stop": self._wait_for_stop()}) as tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                tasks[0].result()
            return self._stop.is_set()

    async def _wait_for_stop(self) -> None:
        await self._stop.wait()

    def _on_notification(self, channel: str, wake_up: WakeUp) -> None:
        if channel == "sidecar_watches":
            self._reload_watches(wake_up)
        else:
            wake_up.notify()

    def _reload_watches(self, wake_up: WakeUp) -> None:
        self._context.catalogue.stale = True
        wake_up.wake()

    async def _mark_asleep(self, asleep: Collection[int], for_s: float, awake: Collection[int]) -> None:
        """Asks for notifications, which cost users' commits time, only while the listener is connected."""
        listening = self._listener is not None and self._listener.connected
        async with self._database.connection() as connection:
            await announce_sleep(connection, asleep if listening else (), for_s, awake)

    async def _sign_off(self) -> None:
        """Deletes the heartbeat, unless leases remain: another sidecar then finds this one dead and releases them."""
        if self._context.liveness.left_leases:
            await self._database.close()
            return
        try:
            async with asyncio.timeout(2), self._database.connection() as connection:
                await sign_off(connection, self._context.identity)
        except (DatabaseError, TimeoutError) as error:
            logger.info("could not unregister this sidecar: %s", error)
        await self._database.close()
