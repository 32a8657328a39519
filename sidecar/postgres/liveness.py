"""Detects dead sidecars by a session lock and a heartbeat, and frees their leases.

A sidecar holds an advisory lock, keyed by its id, on the connection that listens; the lock ends with the session. While
the lock is held, lease tokens begin with the sidecar's id, so that others can tell whose they are.

    LIVING   the lock is held, or the heartbeat continues. A process that is stopped or hangs still has its sessions.
    SILENT   no heartbeat for some seconds
    DEAD     silent, and the lock is free. Its leases are freed at once; the attempts count, as after any crash.

Both conditions are needed: a connection may break, and its lock with it, while the sidecar lives. It then continues its
heartbeat over other connections, and takes the lock again as soon as it listens again. If a living sidecar is declared
dead (nothing of it reached the server for seconds), its results come too late: `complete` checks the token.

Behind a pooler there is no session, so no lock is held. Tokens are random then, no lease is freed early, and the events
of a killed sidecar wait until its leases expire (LEASE_S). The same goes for versions without the lock.
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
    """The advisory lock that shows a sidecar to be alive, and the lease tokens that name it."""

    def __init__(self, sidecar_id: UUID) -> None:
        self._sidecar_id = sidecar_id
        self.held = False
        self.left_leases = False  # some leases could not be released

    async def acquire(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Takes the lock for as long as the connection lasts; `held` says whether that succeeded.

        It may be unavailable for a moment while another sidecar checks it. The lock is shared, so that a new connection
        gets it before the server has noticed the loss of the old one.
        """
        try:
            await connection.execute(statement("take_liveness_lock"), self._sidecar_id)
            self.held = True
        except asyncpg.LockNotAvailableError:
            logger.info("the lock that says that this sidecar lives is taken at the next ping")
        except asyncpg.InsufficientPrivilegeError as error:
            logger.warning("no advisory lock: after a crash, rows wait until their leases run out: %s", error)

    def mark_lost(self) -> None:
        """Records that the connection, and the lock with it, is lost."""
        self.held = False

    def new_token(self) -> UUID:
        """A lease token. It names this sidecar only while the lock is held, by which others would notice its death."""
        return UUID(bytes=self._sidecar_id.bytes[:ID_BYTES] + os.urandom(16 - ID_BYTES)) if self.held else uuid4()


@dataclass(frozen=True, slots=True)
class OtherSidecar:
    """Another sidecar. `seen_at` is its last heartbeat; `is_unlocked`: it is silent and its lock is free."""

    id: UUID
    host: str
    pid: int
    seen_at: datetime
    is_unlocked: bool


async def list_other_sidecars(connection: Connection, own_id: UUID, silent_s: float) -> list[OtherSidecar]:
    """Sidecars that have not signed off. A sidecar is silent after `silent_s` without a heartbeat."""
    rows = await connection.fetch(statement("other_sidecars"), own_id, silent_s)
    return [OtherSidecar(**dict(row.items())) for row in rows]


async def free_leases(
    connection: Connection, watch: Watch, dead: Sequence[OtherSidecar], above_gen: int, max_events: int
) -> tuple[int | None, int]:
    """Frees the leases of sidecars that are still dead, among the `max_events` events above a generation.

    Returns the last generation of that page, None at the end of the queue, and how many leases were freed.
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
    """Deletes the rows of sidecars that died long ago, unless they had a heartbeat since."""
    await connection.execute(statement("forget_dead"), [other.id for other in dead], [other.seen_at for other in dead])
