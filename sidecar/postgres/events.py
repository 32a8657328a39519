"""The queue of events, each a request to bring the vector of one key up to date.

An event is in one of four states:

    waiting   lease_until is NULL or in the past: any sidecar may claim it
    leased    lease_until is in the future; only the holder of `lease_token` may renew, release, delay or complete it
    delayed   in delayed_N until run_at, after a failed attempt; returns as waiting, with a new generation
    gone      completed, in one transaction with the vector

A crashed sidecar leaves leased events behind. They are waiting again, with one more attempt counted, when another
sidecar finds it dead (see liveness.py), or when the lease expires.
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
    """The kinds of events, each claimed by a statement of its own."""

    LIVE = "claim_live"
    BACKFILL = "claim_backfill"
    SUSPECT = "claim_suspect"


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What to claim: up to `limit` events of a queue. `takes_backfill`: a suspect may be of a backfill, too."""

    queue: Queue
    limit: int
    takes_backfill: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """A claimed event. `key` is None for a TRUNCATE. `attempts` includes this one."""

    gen: int
    key: Key | None
    enqueued_at: datetime
    backfill: bool
    force: bool
    attempts: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The token under which events are claimed, and the time after which the lease expires unless renewed."""

    token: UUID
    duration_s: float


async def claim(
    connection: Connection, watch: Watch, wanted: ClaimRequest, front: Sequence[int], lease: Lease
) -> list[Event]:
    """Leases the oldest waiting events, and returns them in order. `front` comes from a Horizon; [0]: search all."""
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
    """The generations and transactions at one moment.

    `drawn` is the highest generation that was handed out before the transactions were read: the 64-bit ids of those
    `in_flight`, and the next one to begin. `sequence` is the OID of the sequence of generations.
    """

    sequence: int
    drawn: int
    next_xid: int
    in_flight: frozenset[int]


async def read_horizon(connection: Connection) -> HorizonReading:
    """Reads which generations may still appear: those above `drawn`, and those of transactions in flight."""
    row = await connection.fetchrow(statement("read_horizon"))
    assert row is not None, "a function has one result"
    in_flight = frozenset(int(xid) for xid in row["in_flight"])
    return HorizonReading(row["sequence"], row["drawn"], int(row["next_xid"]), in_flight)


async def find_first_generations(connection: Connection, floors: Mapping[int, int]) -> dict[int, int | None]:
    """For each watch the lowest visible generation above its floor, leased or not; None where there is none.

    Watches whose queue is locked are missing.
    """
    rows = await connection.fetch(statement("find_first_generations"), list(floors), list(floors.values()))
    return {row["watch_id"]: row["first"] for row in rows}


async def renew_lease(connection: Connection, watch: Watch, gens: Sequence[int], lease: Lease) -> set[int]:
    """Prolongs the lease. Returns the generations still held; the others were claimed by another sidecar."""
    rows = await connection.fetch(watch.sql("renew_lease"), gens, lease.token, lease.duration_s)
    return {row["gen"] for row in rows}


async def release(connection: Connection, watch: Watch, gens: Sequence[int], lease: Lease) -> None:
    """Returns leased events to waiting, without counting the attempt."""
    await connection.execute(watch.sql("release"), gens, lease.token)


async def delay(
    connection: Connection, watch: Watch, delays_s: Mapping[int, float], lease: Lease, *, attempt_counts: bool
) -> None:
    """Delays leased events. `delays_s` maps each generation to its delay."""
    given_back = 0 if attempt_counts else 1
    await connection.execute(watch.sql("delay"), list(delays_s), lease.token, list(delays_s.values()), given_back)


async def return_due(connection: Connection, watch: Watch) -> int:
    """Returns delayed events that are due to waiting. Returns how many."""
    tag = await connection.execute(watch.sql("return_due"))
    return int(tag.rpartition(" ")[2])
