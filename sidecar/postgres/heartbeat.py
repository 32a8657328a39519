"""What a running sidecar tells the database of itself: that it lives, and whether it sleeps."""

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
    """This process, and the model it runs."""

    id: UUID
    model_id: str
    fingerprint: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class Speed:
    """What the device does in a second when it has enough to do; None while that is not measured."""

    texts_per_s: float | None = None
    picture_views_per_s: float | None = None


async def record_heartbeat(connection: Connection, identity: Identity, speed: Speed) -> None:
    """The heartbeat that `sidecar.status`, `doctor` and `plan` read."""
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
    """From now on, and for `for_s` seconds, the triggers of the watches `asleep` notify; those of `awake` do not."""
    await connection.execute(statement("announce_sleep"), list(asleep), for_s, list(awake))


async def sign_off(connection: Connection, identity: Identity) -> None:
    """At the end of the process: nobody is alive under this id any more."""
    await connection.execute(statement("delete_sidecar"), identity.id)
