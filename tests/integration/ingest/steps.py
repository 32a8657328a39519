"""The steps of a sidecar between claim and complete, one by one, without the device and the worker's loop."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from pydantic import SecretStr

from sidecar.ingest.decision import ClaimedKey, group_by_key
from sidecar.postgres.completion import EMPTY, FAILED, RowOutcome, RowResult, WriteReport, complete
from sidecar.postgres.database import Database
from sidecar.postgres.events import ClaimRequest, Lease, Queue, claim
from sidecar.postgres.rows import ReadLimits, Row, read_rows
from sidecar.postgres.vectors import pack_vectors, vector_digest
from sidecar.postgres.watches import Watch, load_watches, pin_fingerprint
from tests.encoders import HashEncoder

MAX_BYTES = 1 << 26


@dataclass(slots=True)
class Steps:
    """One sidecar at work on one watch."""

    database: Database
    watch: Watch
    encoder: HashEncoder
    lease: Lease

    async def claim_and_read(self) -> list[tuple[ClaimedKey, Row]]:
        """Claims all waiting events and reads their rows."""
        async with self.database.connection() as connection:
            events = await claim(connection, self.watch, ClaimRequest(Queue.LIVE, 1000), [0], self.lease)
        claimed = group_by_key(events)
        rows = await self.read(list(claimed.values()))
        return [(claimed[row.key].with_row(row, MAX_BYTES), row) for row in rows]

    async def read(self, claimed: Sequence[ClaimedKey]) -> list[Row]:
        keys = [each.key for each in claimed]
        return [row async for page in read_rows(self.database, self.watch, keys, ReadLimits(MAX_BYTES)) for row in page]

    def result(self, claimed: ClaimedKey, row: Row, outcome: RowOutcome) -> RowResult:
        """A result of the row with this outcome."""
        match outcome:
            case RowOutcome.VECTOR:
                assert row.content is not None
                [packed] = pack_vectors([self.encoder.vector_of(row.content.decode())], "vector")
                return replace(
                    claimed.result(outcome, row.content_hash()),
                    packed_vector=packed,
                    vector_digest=vector_digest(packed),
                )
            case RowOutcome.UNCHANGED:
                return replace(claimed.result(outcome, row.ledger_hash), vector_digest=row.ledger_digest)
            case RowOutcome.EMPTY:
                return claimed.result(outcome, EMPTY)
            case RowOutcome.FAILED:
                return replace(claimed.result(outcome, FAILED), reason="decode_crashed", message="it crashed")
            case RowOutcome.MISSING:
                return claimed.result(outcome)

    async def complete(self, results: list[RowResult], *, wait_for_rows: bool = False) -> WriteReport:
        async with self.database.connection() as connection:
            return await complete(
                connection, self.watch, self.encoder.fingerprint, self.lease, results, wait_for_rows=wait_for_rows
            )


@asynccontextmanager
async def steps_of(database_url: str, encoder: HashEncoder) -> AsyncIterator[Steps]:
    """Steps on the only watch, after pinning it to `encoder`."""
    database = Database(SecretStr(database_url))
    await database.open()
    try:
        async with database.connection() as connection:
            [watch] = await load_watches(connection)
            await pin_fingerprint(connection, watch, encoder.model_id, encoder.fingerprint)
        yield Steps(database, watch, encoder, Lease(uuid.uuid4(), 60))
    finally:
        await database.close()
