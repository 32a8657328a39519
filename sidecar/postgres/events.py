"""Events: "bring this key up to date". Claimed under a lease, given back, delayed, or deleted by complete.

An event is in one of four states:

    waiting   lease_until is NULL or past: any sidecar may claim it
    leased    lease_until lies ahead; `lease_token` says who may renew, release, delay or complete it
    delayed   in delayed_N until run_at, after a failed attempt; comes back waiting, with a new generation
    gone      completed, together with the vector, in one transaction

A crashed sidecar leaves leased events behind; they are waiting again when another finds it dead (see liveness.py), or
when the lease has run out, one attempt older.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch

if TYPE_CHECKING:
    from sidecar.postgres.database import Connection

Key = tuple[str, ...]


class Queue(Enum):
    """Which events a claim takes."""

    LIVE = "claim_live"
    BACKFILL = "claim_backfill"
    SUSPECT = "claim_suspect"


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Up to `limit` events of a queue; `takes_backfill` says whether a suspect may be one of a backfill."""

    queue: Queue
    limit: int
    takes_backfill: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """`key` is None for a TRUNCATE. `attempts` counts this claim."""

    gen: int
    key: Key | None
    enqueued_at: datetime
    backfill: bool
    force: bool
    attempts: int


@dataclass(frozen=True, slots=True)
class Lease:
    """What a claim holds, and how long before it must be renewed."""

    token: UUID
    duration_s: float


async def claim(
    connection: Connection, watch: Watch, wanted: ClaimRequest, front: Sequence[int], lease: Lease
) -> list[Event]:
    """Leases the oldest waiting events that are wanted, oldest first. `front` is a Horizon's; [0]: look everywhere."""
    arguments = (front, wanted.limit, lease.duration_s, lease.token)
    if wanted.queue is Queue.SUSPECT:
        rows = await connection.fetch(watch.sql(wanted.queue.value), *arguments, wanted.takes_backfill)
    else:
        rows = await connection.fetch(watch.sql(wanted.queue.value), *arguments)
    return sorted(
        (
            Event(
                gen=row["gen"],
                key=None if row["is_truncate"] else tuple(row["key"]),
                enqueued_at=row["enqueued_at"],
                backfill=row["backfill"],
                force=row["force"],
                attempts=row["attempts"],
            )
            for row in rows
        ),
        key=lambda event: event.gen,
    )


class HorizonReading(NamedTuple):
    """`drawn`: the highest generation handed out before the look at the transactions, which are told by their 64-bit
    ids: those `in_flight`, and the first one that had not begun. `sequence` is the OID of what hands generations out.
    """

    sequence: int
    drawn: int
    next_xid: int
    in_flight: frozenset[int]


async def read_horizon(connection: Connection) -> HorizonReading:
    """Which generations may still come: above `drawn`, or of a transaction in flight."""
    row = await connection.fetchrow(statement("read_horizon"))
    assert row is not None, "a function has one result"
    in_flight = frozenset(int(xid) for xid in row["in_flight"])
    return HorizonReading(row["sequence"], row["drawn"], int(row["next_xid"]), in_flight)


async def find_first_generations(connection: Connection, floors: Mapping[int, int]) -> dict[int, int | None]:
    """By watch the lowest generation above its floor that is visible now, leased or not; None where there is none. A
    queue that somebody has locked is missing.
    """
    rows = await connection.fetch(statement("find_first_generations"), list(floors), list(floors.values()))
    return {row["watch_id"]: row["first"] for row in rows}


async def renew_lease(connection: Connection, watch: Watch, gens: Sequence[int], lease: Lease) -> set[int]:
    """Prolongs the lease. Returns the generations that are still ours; the others are lost to another claimer."""
    rows = await connection.fetch(watch.sql("renew_lease"), gens, lease.token, lease.duration_s)
    return {row["gen"] for row in rows}


async def release(connection: Connection, watch: Watch, gens: Sequence[int], lease: Lease) -> None:
    """Back to waiting, with the attempt given back."""
    await connection.execute(watch.sql("release"), gens, lease.token)


async def delay(
    connection: Connection, watch: Watch, delays_s: Mapping[int, float], lease: Lease, *, attempt_counts: bool
) -> None:
    """Moves leased events out of the way for some seconds each. `delays_s` is keyed by generation."""
    given_back = 0 if attempt_counts else 1
    await connection.execute(watch.sql("delay"), list(delays_s), lease.token, list(delays_s.values()), given_back)


async def return_due(connection: Connection, watch: Watch) -> int:
    """Brings delayed events back whose time has come. Returns how many."""
    tag = await connection.execute(watch.sql("return_due"))
    return int(tag.rpartition(" ")[2])
