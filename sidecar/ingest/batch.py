"""One claimed batch on its way: read → encode → complete. No transaction is open while the device works.

Chunks of some dozens of rows are encoded side by side and completed in order, each as soon as its vectors are there.
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
from sidecar.ingest.decision import ClaimedKey, decide, fail_unread, group_by_key, retry_delay_s
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

_HASHED_ALONE_BYTES = 256 * 1024
# A model reads a few hundred characters. A longer beginning is for texts that begin with blanks or punctuation, or that
# may have been read in a wrong encoding.
_FIRST_BEGINNING_BYTES, _BEGINNINGS_GROW_BY = 16 * 1024, 16
# Up to here it is cheaper to fetch a text and hash it than to have the server do so: some have no instructions for it.
_WHOLE_BYTES = 1024 * 1024


class Batch:
    """`park` takes results whose row is locked, and returns at once."""

    def __init__(
        self,
        context: Context,
        rows: RowEncoder,
        claim: Claim,
        park: Callable[[Claim, list[RowResult]], Awaitable[None]],
    ) -> None:
        self._context = context
        self._rows = rows
        self._claim = claim
        self._park = park
        self._writer = Writer(context, claim.watch, claim.lease, claim.lane)
        self._keeper = LeaseKeeper(context, claim.watch, claim.lease, (e.gen for e in claim.events))

    async def run(self) -> None:
        """Returns when no event of the batch is in hand any more.

        Raises DeviceError, DecoderUnavailable, DatabaseError; what is still in hand then is released, with its attempt
        given back. After any other error it is left to its lease.
        """
        async with self._keeper.renewing():
            try:
                await self._process()
            except (WatchChanged, StatementRejected) as error:
                await self._context.catalogue.report_change(self._claim.watch, error)
            except Exception as error:
                if not isinstance(error, (DatabaseError, DeviceError, DecoderUnavailable)):
                    self._keeper.leave()  # one of the rows may be to blame
                raise

    async def _process(self) -> None:
        claim = self._claim
        if not await self._context.catalogue.pin(claim.watch):
            return
        for event in claim.events:
            if event.key is None:
                with self._context.measured("truncate"):
                    await clear_truncated(self._context.database, claim.watch, claim.lease, event)
                self._keeper.drop([event.gen])
                self._context.telemetry.events_done(claim.watch.series, {("truncated", ""): 1})
                if is_of_companion(event):
                    self._context.catalogue.stale = True  # a backfill begins
        in_hand, rest = self._context.in_hand, group_by_key(claim.events)
        while rest:
            free = {key: claimed for key, claimed in rest.items() if not in_hand.has(claim.watch.id, key, claim.lane)}
            if not free:
                await in_hand.wait(claim.watch.id, next(iter(rest)), claim.lane)
                continue
            with in_hand.held(claim.watch.id, free, claim.lane):
                await self._read_and_encode(free)
            rest = {key: claimed for key, claimed in rest.items() if key not in free}

    async def _read_and_encode(self, wanted: dict[Key, ClaimedKey]) -> None:
        """Pictures as a whole; of texts as much as is needed, which nearly always is the first few kilobytes."""
        settings, watch = self._context.settings, self._claim.watch
        await self._context.guard.hold()
        if watch.kind == "image":
            await self._encode_rows(wanted, ReadLimits(settings.ingest_batch_bytes, settings.max_image_bytes))
            return
        beginning_bytes = min(_FIRST_BEGINNING_BYTES, settings.ingest_batch_bytes)
        while wanted:
            whole_bytes = max(_WHOLE_BYTES, beginning_bytes)
            limits = ReadLimits(settings.ingest_batch_bytes, whole_bytes=whole_bytes, beginning_bytes=beginning_bytes)
            wanted = await self._encode_rows(wanted, limits)
            beginning_bytes = min(_BEGINNINGS_GROW_BY * beginning_bytes, settings.ingest_batch_bytes)

    async def _encode_rows(self, wanted: dict[Key, ClaimedKey], limits: ReadLimits) -> dict[Key, ClaimedKey]:
        """Returns those of which more has to be read."""
        watch, size = self._claim.watch, rows_per_write(self._claim.watch)
        reading = partial(self._context.reading, self._claim.lane)
        short: dict[Key, ClaimedKey] = {}
        async for page in read_rows(self._context.database, watch, list(wanted), limits, reading):
            chunks = [page[i : i + size] for i in range(0, len(page), size)]
            encoding = {f"encode-{watch.id}-{n}": self._encode(chunk, wanted, limits) for n, chunk in enumerate(chunks)}
            async with running_tasks(encoding) as tasks:
                for task in tasks:
                    encoded = await task
                    short |= {e.claimed.key: wanted[e.claimed.key] for e in encoded if isinstance(e, ReadMore)}
                    await self._finish([e for e in encoded if not isinstance(e, ReadMore)])
        return short

    async def _encode(
        self, rows: Sequence[Row], wanted: dict[Key, ClaimedKey], limits: ReadLimits
    ) -> list[EncodingResult]:
        results: list[EncodingResult] = []
        to_encode: list[tuple[ClaimedKey, bytes]] = []
        for row in rows:
            claimed = wanted[row.key].read(row, limits.beginning_bytes)
            result = decide(claimed, row, limits.row_bytes)
            if len(row.content or b"") >= _HASHED_ALONE_BYTES:
                await asyncio.sleep(0)  # hashing a page of 64 MiB takes 0.1 s, which others need not wait for
            if result is not None:
                results.append(result)
            elif row.content is not None:
                to_encode.append((claimed, row.content[: limits.beginning_bytes]))
        encoded = await self._rows.encode(self._claim.watch.kind, to_encode, self._claim.lane)
        longest = self._context.settings.ingest_batch_bytes
        if limits.beginning_bytes >= longest:
            encoded = [fail_unread(e.claimed, longest) if isinstance(e, ReadMore) else e for e in encoded]
        return results + encoded

    async def _finish(self, encoded: Sequence[RowResult | RetryLater]) -> None:
        await self._write([e for e in encoded if not isinstance(e, RetryLater)])
        later = [e for e in encoded if isinstance(e, RetryLater)]
        if later:
            await self._delay(later)

    async def _delay(self, later: Sequence[RetryLater]) -> None:
        watch = self._claim.watch
        delays_s = {gen: retry_delay_s(e.claimed.attempts) for e in later for gen in e.claimed.gens}
        for e in later:
            logger.info("a row of %s is tried again later: %s: %s", watch.label, e.reason, e.message)
        with self._context.measured("delay"):
            async with self._context.database.connection() as connection:
                await delay(connection, watch, delays_s, self._claim.lease, attempt_counts=True)
        self._keeper.drop(delays_s)
        outcomes = Counter(("delayed", e.reason) for e in later for _ in e.claimed.gens)
        self._context.telemetry.events_done(watch.series, outcomes)

    async def _write(self, results: Sequence[RowResult]) -> None:
        if not results:
            return
        try:
            done = await self._writer.write(results)
        except Contention:
            done = WriteReport(locked=list(results))
        await self._keeper.release((gen for r in done.stale for gen in r.gens), "row_changed")
        self._keeper.drop(gen for r in (*done.written, *done.voided, *done.lease_lost, *done.locked) for gen in r.gens)
        if done.locked:
            await self._park(self._claim, done.locked)


CHUNK_BLOCKS = 128  # about 5,000 entries
LOCKED_S, TRIES = (
    0.02,
    10,
)  # what a complete has locked is tried again soon, what a user has, after the watch had a rest


async def clear_truncated(database: Database, watch: Watch, lease: Lease, event: Event) -> None:
    """What a TRUNCATE leaves to clear: ledger, failures and companion rows of lower generation.

    Of the watched table: results that were read before are void, and nothing else is to be done.
    Of a companion, by a user: the rows are still there, so they are looked at again, as by a first backfill. Results on
    their way need not be void: their ledger entries vanish, which tells `complete`.

    Clears in chunks, then ends the event. Repeatable. Raises Contention where a user is deleting vectors himself."""
    clear = watch.sql("clear_truncated_in_companion" if watch.has_companion else "clear_truncated_in_row")
    async with database.connection() as connection:
        if not is_of_companion(event):
            await connection.execute(statement("raise_truncated_gen"), watch.id, event.gen)
        blocks = await connection.fetchval(watch.sql("count_ledger_blocks"))
        for block in range(0, blocks, CHUNK_BLOCKS):
            tries = 0
            while left := await connection.fetchval(clear, event.gen, block, block + CHUNK_BLOCKS):
                tries += 1
                if tries == TRIES:
                    raise Contention(f"{left} vectors of rows that are gone are locked")
                await asyncio.sleep(LOCKED_S)
        if is_of_companion(event):
            await connection.execute(watch.sql("restart_backfill"), event.gen, lease.token)
        else:
            await connection.execute(watch.sql("delete_events"), [event.gen], lease.token)


def is_of_companion(event: Event) -> bool:
    return event.key is None and event.force
