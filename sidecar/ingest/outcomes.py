"""What became of events, counted for the metrics."""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

from sidecar.postgres.completion import Completion, Outcome

Outcomes: TypeAlias = Counter[tuple[str, str]]  # outcome and reason

_NAMES = {
    Outcome.VECTOR: "embedded",
    Outcome.UNCHANGED: "unchanged",
    Outcome.EMPTY: "empty",
    Outcome.MISSING: "deleted",
    Outcome.FAILED: "failed",
}


def outcomes_of(done: Completion) -> Outcomes:
    """Of the events that a completion ended. One outcome for each row; its other events in hand were `superseded`."""
    counts: Outcomes = Counter((_NAMES[r.outcome], r.reason) for r in done.written)
    counts["superseded", ""] = sum(len(r.gens) - 1 for r in done.written)
    counts["truncated", ""] = sum(len(r.gens) for r in done.overtaken)
    counts["lost", ""] = sum(len(r.gens) for r in done.lost)
    return +counts
