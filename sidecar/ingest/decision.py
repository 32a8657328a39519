"""Decides what a claimed row needs, before anything is encoded, and when a failed attempt is repeated.

read ─► MISSING      the row is gone: its ledger entry and companion row go too
    ├─► EMPTY        the source is NULL or empty: the vector is cleared
    ├─► UNCHANGED    content and stored vector are what the ledger says: only the event ends
    ├─► FAILED       too large, unreadable, or claimed more than MAX_ATTEMPTS times without a result
    └─► encoded (see encoding.py): VECTOR, EMPTY or FAILED, or retried later after `retry_delay_s`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sidecar.concurrency import with_jitter
from sidecar.postgres.completion import EMPTY, FAILED, RowOutcome, RowResult
from sidecar.postgres.events import Event, Key
from sidecar.postgres.rows import Row

MAX_ATTEMPTS = 5
FIRST_RETRY_S, LAST_RETRY_S = 2.0, 3600.0
READ_REJECTED = "read_rejected"


@dataclass(frozen=True, slots=True)
class ClaimedKey:
    """All claimed events of one key and, once its row is read, what was found.

    `version` is that of the ledger entry, `content_hash` that of the whole content; `is_beginning`: only the beginning
    of the content is used.
    """

    key: Key
    gens: tuple[int, ...]
    attempts: int
    force: bool
    version: str | None = None
    has_vector: bool = False
    content_hash: bytes | None = None
    is_beginning: bool = False

    def with_row(self, row: Row, beginning_bytes: int) -> ClaimedKey:
        """This key with what was read of its row, of which `beginning_bytes` at most are used."""
        return replace(
            self,
            version=row.version,
            has_vector=row.has_vector,
            content_hash=row.content_hash(),
            is_beginning=row.whole_hash is not None or len(row.content or b"") > beginning_bytes,
        )

    def result(self, outcome: RowOutcome, content_hash: bytes | None = None) -> RowResult:
        """The result of all its events."""
        return RowResult(
            self.key,
            self.gens,
            outcome,
            content_hash,
            attempts=self.attempts,
            version=self.version,
            has_vector=self.has_vector,
        )

    def failure(self, reason: str, message: str) -> RowResult:
        """A FAILED result. `reason` is a stable code; `message` is for the watch's user."""
        return replace(self.result(RowOutcome.FAILED, FAILED), reason=reason, message=message)


def group_by_key(events: Sequence[Event]) -> dict[Key, ClaimedKey]:
    """The claimed keys, in the order of their oldest events. Events of a TRUNCATE have no key and are left out."""
    grouped: dict[Key, list[Event]] = {}
    for event in events:
        if event.key is not None:
            grouped.setdefault(event.key, []).append(event)
    return {
        key: ClaimedKey(key, tuple(e.gen for e in same), max(e.attempts for e in same), any(e.force for e in same))
        for key, same in grouped.items()
    }


def decide(claimed: ClaimedKey, row: Row, max_row_bytes: int) -> RowResult | None:
    """The result of a row that needs no encoding; None for a row that must be encoded."""
    if not row.found:
        return claimed.result(RowOutcome.MISSING)
    if row.fault is None and not row.size_bytes:
        return claimed.result(RowOutcome.EMPTY, EMPTY)
    if row.content is None or claimed.content_hash is None:
        return _unreadable(claimed, row, max_row_bytes)
    if not claimed.force and row.is_embedded_as(claimed.content_hash):
        return replace(
            claimed.result(RowOutcome.UNCHANGED, claimed.content_hash),
            vector_digest=row.ledger_digest,
            truncated=row.ledger_truncated,
            unreadable=row.ledger_unreadable,
        )
    if claimed.attempts > MAX_ATTEMPTS:
        return claimed.failure(
            "worker_crashed", f"the sidecar ended {claimed.attempts - 1} times while it worked on this row"
        )
    return None


def fail_too_long(claimed: ClaimedKey, beginning_bytes: int) -> RowResult:
    """Failure of a text whose longest beginning that may be read has fewer words than the model reads."""
    return claimed.failure(
        "too_many_bytes",
        f"the first {beginning_bytes:,} bytes of the text have fewer words than the model reads, and no more are read "
        "(INGEST_BATCH_BYTES)",
    )


def retry_delay_s(attempts: int) -> float:
    """Seconds until the next attempt at a row: 2, 8, 32, 128 … up to an hour, ± 25 %."""
    return with_jitter(min(FIRST_RETRY_S * 4.0 ** (attempts - 1), LAST_RETRY_S))


def _unreadable(claimed: ClaimedKey, row: Row, max_row_bytes: int) -> RowResult:
    if row.fault is not None:
        return claimed.failure(READ_REJECTED, f"Postgres cannot read the source: {row.fault}")
    return claimed.failure(
        "too_many_bytes",
        f"the source has {row.size_bytes:,} bytes; at most {max_row_bytes:,} are read (MAX_IMAGE_BYTES)",
    )
