"""Processes one claimed batch: read → decide → encode → write. No transaction is open while the device works.

A row of the batch ends in one of these ways; its events leave the lease keeper's `held` at the same time:

    written       vector, ledger entry and the end of its events, in one transaction; or a failure in place of the
                  vector
    stale         the key was written since it was read: the events are released, to be claimed and read again
    voided        a TRUNCATE came later: the events end without a result
    lease lost    another sidecar has claimed the events: the result is dropped
    locked        handed to LockedRows, which retries the write in the background
    retry later   the events are delayed; the attempt counts
    interrupted   the batch failed or was cancelled: the events are released, and the attempt does not count

Chunks of `rows_per_write` rows are encoded concurrently and written in order, each as soon as its vectors are there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from sidecar.concurrency import running_tasks
from sidecar.errors import Contention, DatabaseError, DecoderUnavailable, DeviceError, StatementRejected, WatchChanged
from sidecar.ingest.claiming import Claim
from sidecar.ingest.context import Context
from sidecar.ingest.decision import ClaimedKey, decide, fail_too_long, group_by_key, retry_delay_s
from sidecar.ingest.encoding import EncodingResult, ReadMore, RetryLater, RowEncoder
from sidecar.ingest.lease_keeper import LeaseKeeper
from sidecar.ingest.writer import Writer, rows_per_write
from sidecar.postgres.completion import RowResult, WriteReport
from sidecar.postgres.database import Database
from sidecar.postgres.events import Event, Key, Lease, delay
from sidecar.postgres.rows import ReadLimits, Row, read_rows
from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch

logger = logging.getLogger(__name__)

_YIELD_AFTER_HASHING_BYTES = 256 * 1024
# A model reads a few hundred characters. Longer beginnings are for texts that start with blanks or punctuation, or that
# may have been read in a wrong encoding.
_FIRST_BEGINNING_BYTES, _BEGINNING_GROWTH = 16 * 1024, 16
# Up to this size it is cheaper to fetch a text and hash it here than on the server: some have no instructions for it.
_WHOLE_BYTES = 1024 * 1024

CLEARED_BLOCKS = 128  # of the ledger in one statement: about 5,000 entries
# What a write has locked is free again soon; what a user has locked, after the watch's backoff.
LOCKED_RETRY_S, MAX_LOCKED_TRIES = 0.02, 10


class Batch:
    """Processes one claim. `retry_locked` takes results whose row is locked, and returns at once."""

    def __init__(
        self,
        context: Context,
        rows: RowEncoder,
        claim: Claim,
        retry_locked: Callable[[Claim, list[RowResult]], Awaitable[None]],
    ) -> None:
        self._context = context
        self._rows = rows
        self._claim = claim
        self._retry_locked = retry_locked
        self._writer = Writer(context, claim.watch, claim.lease, claim.lane)
        self._lease_keeper = LeaseKeeper(context, claim.watch, claim.lease, (e.gen for e in claim.events))

    async def run(self) -> None:
        """Processes the claim, and returns when none of its events is in flight any more.

        Raises DeviceError, DecoderUnavailable and DatabaseError after releasing the remaining events; the attempt does
        not count. After any other error they are left until the lease has run out, and the attempt counts.
        """
        async with self._lease_keeper.renewing():
            try:
                await self._process()
            except (WatchChanged, StatementRejected) as error:
                await self._context.catalogue.report_failure(self._claim.watch, error)
            except Exception as error:
                if not isinstance(error, (DatabaseError, DeviceError, DecoderUnavailable)):
                    self._lease_keeper.abandon()  # one of the rows may have caused it
                raise

    async def _process(self) -> None:
        """Finishes TRUNCATEs, then embeds rows: first those that no other batch of this sidecar is working on."""
        claim, in_flight = self._claim, self._context.keys_in_flight
        if not await self._context.catalogue.pin_fingerprint(claim.watch):
            return
        await self._finish_truncates()
        remaining = group_by_key(claim.events)
        while remaining:
            ready = {
                key: claimed
                for key, claimed in remaining.items()
                if not in_flight.must_wait(claim.watch.id, key, claim.lane)
            }
            if not ready:
                await in_flight.wait(claim.watch.id, next(iter(remaining)), claim.lane)
                continue
            with in_flight.held(claim.watch.id, ready, claim.lane):
                await self._read_encode_write(ready)
            remaining = {key: claimed for key, claimed in remaining.items() if key not in ready}

    async def _finish_truncates(self) -> None:
        """Clears what TRUNCATEs among the events leave behind, and ends these events."""
        claim = self._claim
        for event in claim.events:
            if event.key is not None:
                continue
            with self._context.measured("truncate"):
                await clear_truncated(self._context.database, claim.watch, claim.lease, event)
            self._lease_keeper.drop([event.gen])
            self._context.telemetry.events_done(claim.watch.name, {("truncated", ""): 1})
            if truncates_companion(event):
                self._context.catalogue.stale = True  # a backfill begins

    async def _read_encode_write(self, wanted: dict[Key, ClaimedKey]) -> None:
        """Reads, encodes and writes rows: pictures whole, texts by a beginning that grows until it is enough.

        The first beginning nearly always is.
        """
        settings, watch = self._context.settings, self._claim.watch
        await self._context.guard.hold()
        if watch.kind == "image":
            limits = ReadLimits(settings.ingest_batch_bytes, settings.max_image_bytes)
            await self._read_encode_write_within(wanted, limits)
            return
        beginning_bytes = min(_FIRST_BEGINNING_BYTES, settings.ingest_batch_bytes)
        while wanted:
            whole_bytes = max(_WHOLE_BYTES, beginning_bytes)
            limits = ReadLimits(settings.ingest_batch_bytes, whole_bytes=whole_bytes, beginning_bytes=beginning_bytes)
            wanted = await self._read_encode_write_within(wanted, limits)
            beginning_bytes = min(_BEGINNING_GROWTH * beginning_bytes, settings.ingest_batch_bytes)

    async def _read_encode_write_within(
        self, wanted: dict[Key, ClaimedKey], limits: ReadLimits
    ) -> dict[Key, ClaimedKey]:
        """Reads, encodes and writes rows within `limits`. Returns those of which more must be read."""
        watch, size = self._claim.watch, rows_per_write(self._claim.watch)
        reading = partial(self._context.reading, self._claim.lane)
        too_short: dict[Key, ClaimedKey] = {}
        async for page in read_rows(self._context.database, watch, list(wanted), limits, reading):
            chunks = [page[i : i + size] for i in range(0, len(page), size)]
            encoding = {
                f"encode-{watch.id}-{n}": self._decide_or_encode(chunk, wanted, limits)
                for n, chunk in enumerate(chunks)
            }
            async with running_tasks(encoding) as tasks:
                for task in tasks:
                    results = await task
                    too_short |= {r.claimed.key: wanted[r.claimed.key] for r in results if isinstance(r, ReadMore)}
                    await self._write_or_delay([r for r in results if not isinstance(r, ReadMore)])
        return too_short

    async def _decide_or_encode(
        self, rows: Sequence[Row], wanted: dict[Key, ClaimedKey], limits: ReadLimits
    ) -> list[EncodingResult]:
        """Results of rows that were read: decided without encoding where possible, else encoded."""
        decided: list[EncodingResult] = []
        to_encode: list[tuple[ClaimedKey, bytes]] = []
        for row in rows:
            claimed = wanted[row.key].with_row(row, limits.beginning_bytes)
            result = decide(claimed, row, limits.row_bytes)
            if len(row.content or b"") >= _YIELD_AFTER_HASHING_BYTES:
                await asyncio.sleep(0)  # hashing a page of 64 MiB takes 0.1 s: too long to block the event loop
            if result is not None:
                decided.append(result)
            elif row.content is not None:
                to_encode.append((claimed, row.content[: limits.beginning_bytes]))
        encoded = await self._rows.encode(self._claim.watch, to_encode, self._claim.lane)
        longest = self._context.settings.ingest_batch_bytes
        if limits.beginning_bytes >= longest:
            encoded = [fail_too_long(e.claimed, longest) if isinstance(e, ReadMore) else e for e in encoded]
        return decided + encoded

    async def _write_or_delay(self, results: Sequence[RowResult | RetryLater]) -> None:
        """Writes results, and delays the events of rows whose attempt failed."""
        await self._write([r for r in results if not isinstance(r, RetryLater)])
        retried = [r for r in results if isinstance(r, RetryLater)]
        if retried:
            await self._delay(retried)

    async def _write(self, results: Sequence[RowResult]) -> None:
        """Writes results. Those of locked rows are handed to the background, stale ones are released."""
        if not results:
            return
        try:
            report = await self._writer.write(results)
        except Contention:
            report = WriteReport(locked=list(results))
        await self._lease_keeper.release((gen for r in report.stale for gen in r.gens), "row_changed")
        ended = (*report.written, *report.voided, *report.lease_lost, *report.locked)
        self._lease_keeper.drop(gen for r in ended for gen in r.gens)
        if report.locked:
            await self._retry_locked(self._claim, report.locked)

    async def _delay(self, retried: Sequence[RetryLater]) -> None:
        """Delays the events of rows whose attempt failed."""
        watch = self._claim.watch
        delays_s = {gen: retry_delay_s(r.claimed.attempts) for r in retried for gen in r.claimed.gens}
        for r in retried:
            logger.info("a row of %s is tried again later: %s: %s", watch.quoted_name, r.reason, r.message)
        with self._context.measured("delay"):
            async with self._context.database.connection() as connection:
                await delay(connection, watch, delays_s, self._claim.lease, attempt_counts=True)
        self._lease_keeper.drop(delays_s)
        outcomes = Counter(("delayed", r.reason) for r in retried for _ in r.claimed.gens)
        self._context.telemetry.events_done(watch.name, outcomes)


async def clear_truncated(database: Database, watch: Watch, lease: Lease, event: Event) -> None:
    """Clears the rows that a TRUNCATE leaves behind, in chunks: ledger, failures and companion, below its generation.

    After a TRUNCATE of the watched table, results that were read before are void. After a TRUNCATE of a companion, by a
    user, the rows are still there: a new backfill begins. Results in flight need not be voided then: `complete` finds
    their ledger entries gone.

    Ends the event last; may be repeated. Raises Contention where a user is deleting vectors.
    """
    clear = watch.sql("clear_truncated_in_companion" if watch.has_companion else "clear_truncated_in_row")
    async with database.connection() as connection:
        if not truncates_companion(event):
            await connection.execute(statement("raise_truncated_gen"), watch.id, event.gen)
        blocks = await connection.fetchval(watch.sql("count_ledger_blocks"))
        for block in range(0, blocks, CLEARED_BLOCKS):
            tries = 0
            while left := await connection.fetchval(clear, event.gen, block, block + CLEARED_BLOCKS):
                tries += 1
                if tries == MAX_LOCKED_TRIES:
                    raise Contention(f"{left} vectors of rows that are gone are locked")
                await asyncio.sleep(LOCKED_RETRY_S)
        if truncates_companion(event):
            await connection.execute(watch.sql("restart_backfill"), event.gen, lease.token)
        else:
            await connection.execute(watch.sql("delete_events"), [event.gen], lease.token)


def truncates_companion(event: Event) -> bool:
    """Whether the event is a user's TRUNCATE of the companion, rather than of the watched table."""
    return event.key is None and event.force
