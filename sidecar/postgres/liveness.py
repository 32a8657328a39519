"""Whether a sidecar lives, as others see it, and what is to become of the leases of one that died.

A sidecar holds an advisory lock, keyed by its id, on the connection that listens: a lock of the session, which goes
with it. While it holds the lock its lease tokens begin with its id, so that they can be told from those of others.

    LIVING   somebody has the lock, or the heartbeat goes on. A process that is stopped or hangs still has its sessions.
    SILENT   no heartbeat for some seconds
    DEAD     silent, and nobody has the lock. Its leases are free at once; the attempts count, as after any crash.

Both have to be so: a connection may break while the sidecar lives, and its lock with it; then it goes on to beat, over
its other connections, and takes the lock anew as soon as it listens again. Should one be taken for dead although it
lives (nothing of it reached the server for seconds), its results come too late: complete looks for the token.

Behind a pooler, where there is no session, no lock is held. Tokens are random then, no lease is freed early, and what a
killed sidecar had in hand waits until its leases run out (LEASE_S). The same goes for versions that held no lock.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg

from sidecar.postgres.statements import statement
from sidecar.postgres.watches import Watch

if TYPE_CHECKING:
    from sidecar.postgres.database import Connection

logger = logging.getLogger(__name__)

ID_BYTES = 8  # of a token; the others are random


class LivenessLock:
    """The lock of one sidecar, and the tokens that it signs its leases with."""

    def __init__(self, sidecar_id: UUID) -> None:
        self._sidecar_id = sidecar_id
        self.held = False
        self.left_leases = False  # something could not be given back

    async def take(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Holds the lock for as long as the connection lasts; `held` says whether that worked.

        It may be refused for a moment while another sidecar looks whether we live. Shared, so that a new connection
        gets it while the server has not yet noticed that the old one is gone.
        """
        try:
            await connection.execute(statement("take_liveness_lock"), self._sidecar_id)
            self.held = True
        except asyncpg.LockNotAvailableError:
            logger.info("the lock that says that this sidecar lives is taken at the next ping")
        except asyncpg.InsufficientPrivilegeError as error:
            logger.warning("no advisory lock: after a crash, rows wait until their leases run out: %s", error)

    def lost(self) -> None:
        """The connection is gone."""
        self.held = False

    def new_token(self) -> UUID:
        """For a lease. It names this sidecar only if others could see it die."""
        return UUID(bytes=self._sidecar_id.bytes[:ID_BYTES] + os.urandom(16 - ID_BYTES)) if self.held else uuid4()


@dataclass(frozen=True, slots=True)
class OtherSidecar:
    """`seen_at` is its last heartbeat; `is_unlocked`: it is silent, and nobody has its lock."""

    id: UUID
    host: str
    pid: int
    seen_at: datetime
    is_unlocked: bool


async def list_other_sidecars(connection: Connection, own_id: UUID, silent_s: float) -> list[OtherSidecar]:
    """Those that have not signed off. Silent ones have not been heard of for `silent_s`."""
    rows = await connection.fetch(statement("other_sidecars"), own_id, silent_s)
    return [OtherSidecar(**dict(row.items())) for row in rows]


async def free_leases(
    connection: Connection, watch: Watch, dead: Sequence[OtherSidecar], above_gen: int, max_events: int
) -> tuple[int | None, int]:
    """Frees the leases of those that are still dead, among the `max_events` events above a generation.

    Returns the last generation that was looked at, None at the end of the queue, and how many leases were freed.
    """
    low, high = bytes(16 - ID_BYTES), b"\xff" * (16 - ID_BYTES)
    row = await connection.fetchrow(
        watch.sql("free_leases"),
        *([other.id for other in dead], [other.seen_at for other in dead]),
        [UUID(bytes=other.id.bytes[:ID_BYTES] + low) for other in dead],
        [UUID(bytes=other.id.bytes[:ID_BYTES] + high) for other in dead],
        *(above_gen, max_events),
    )
    assert row is not None, "a select of aggregates has one row"
    return (row["last_gen"] if row["looked_at"] == max_events else None), row["freed"]


async def forget_dead(connection: Connection, dead: Sequence[OtherSidecar]) -> None:
    """Deletes the rows of those that died long ago, unless they have beaten since."""
    await connection.execute(statement("forget_dead"), [other.id for other in dead], [other.seen_at for other in dead])
