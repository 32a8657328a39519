"""Waits for a state in sidecar.status."""

from __future__ import annotations

from tests.integration.ingest.watched_table import Connection, run
from tests.waiting import wait_until_async


async def until_all_are(state: str, db: Connection) -> None:
    """Waits until every watch is in this state. `up to date` needs a heartbeat, sent every two seconds."""
    states: list[str] = []

    async def are() -> bool:
        states[:] = [row[0] for row in await run(db, "select distinct state from sidecar.status")]
        return states == [state]

    await wait_until_async(are, lambda: f"state {state!r}, not {states}")
