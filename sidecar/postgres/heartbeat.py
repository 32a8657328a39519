"""A sidecar's row in the database: its heartbeat, and which watches' triggers have to wake it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from sidecar import __version__
from sidecar.postgres.statements import statement

if TYPE_CHECKING:
    from sidecar.postgres.database import Connection


@dataclass(frozen=True, slots=True)
class Identity:
    """The id of this process, and the model it runs."""

    id: UUID
    model_id: str
    fingerprint: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class Speed:
    """What the device embeds in a second under full load; None while not measured."""

    texts_per_s: float | None = None
    picture_views_per_s: float | None = None


async def record_heartbeat(connection: Connection, identity: Identity, speed: Speed) -> None:
    """Records the heartbeat that `sidecar.status`, `doctor` and `plan` read."""
    await connection.execute(
        statement("record_heartbeat"),
        identity.id,
        socket.gethostname(),
        os.getpid(),
        __version__,
        identity.model_id,
        identity.fingerprint,
        identity.dimensions,
        time.time(),
        speed.texts_per_s,
        speed.picture_views_per_s,
    )


async def announce_sleep(
    connection: Connection, asleep: Collection[int], for_s: float, awake: Collection[int] = ()
) -> None:
    """Makes the triggers of the watches `asleep` notify for `for_s` seconds; those of `awake` do not."""
    await connection.execute(statement("announce_sleep"), list(asleep), for_s, list(awake))


async def sign_off(connection: Connection, identity: Identity) -> None:
    """Deletes the sidecar's row, when the process ends."""
    await connection.execute(statement("delete_sidecar"), identity.id)
