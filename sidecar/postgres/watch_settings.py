"""Settings of the watches that no search needs, for GET /watches."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.postgres.database import Database
from sidecar.postgres.statements import statement


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What `sidecar.watch` was told.

    `index` is the argument of that name, in its shortest form. `model` is what the watch asks for; None: any.
    """

    storage: str
    index: str
    model: str | None


async def read_watch_settings(database: Database) -> dict[int, WatchSettings]:
    """The settings of all active watches, by their ids. Raises DatabaseError."""
    async with database.connection() as connection:
        records = await connection.fetch(statement("watch_settings"))
    return {watch_id: WatchSettings(*settings) for watch_id, *settings in records}
