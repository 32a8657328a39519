"""What was embedded since the last report, per watch."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from sidecar.postgres.completion import Completion, Outcome
from sidecar.postgres.database import Database
from sidecar.postgres.queries import statement


@dataclass(slots=True)
class _Tally:
    embedded: int = 0
    lags_ms: list[float] = field(default_factory=list)


class Progress:
    """Counted in memory and written every few seconds: a row per batch in a busy table would be dead tuples only."""

    def __init__(self) -> None:
        self._tallies: defaultdict[int, _Tally] = defaultdict(_Tally)

    def count(self, watch_id: int, completion: Completion) -> None:
        tally = self._tallies[watch_id]
        tally.embedded += sum(1 for r in completion.written if r.outcome is Outcome.VECTOR)
        tally.lags_ms += completion.lags_ms

    async def report(self, database: Database) -> None:
        """Adds what was counted to sidecar.progress."""
        tallies, self._tallies = self._tallies, defaultdict(_Tally)
        for watch_id, tally in tallies.items():
            if tally.embedded:
                lag_ms = sum(tally.lags_ms) / len(tally.lags_ms) if tally.lags_ms else None
                async with database.connection() as connection:
                    await connection.execute(statement("record_progress"), watch_id, tally.embedded, lag_ms)
