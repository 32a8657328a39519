"""The state of all watches in one sentence, for `sidecar status` and /status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.postgres.status import Health, WatchStatus

_BY_SEVERITY: tuple[Health, ...] = ("problem", "warning", "working", "ok")

# The beginning of `state`, as the SQL function state_of writes it, and the words for a number of such watches.
_PHRASES = {
    "broken": "broken",
    "denied": "without the rights it needs",
    "waiting for": "waiting for a sidecar with another model",
    "paused": "paused",
    "no sidecar": "not served",
    "moving": "moving vectors",
    "clearing": "clearing old vectors",
    "backfilling": "backfilling",
    "verifying": "being verified",
    "catching up": "catching up",
    "building failed": "without an index, which cannot be built",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """`health` is the worst of all watches'."""

    text: str
    health: Health


def summarize(watches: Sequence[WatchStatus]) -> Summary:
    """What all watches do, how many rows are pending and failed."""
    if not watches:
        return Summary("Nothing is watched.", "ok")
    health = min((watch.health for watch in watches), key=_BY_SEVERITY.index)
    if health == "ok":
        row_count = sum(watch.rows or 0 for watch in watches)
        about = "about " if any(watch.estimated for watch in watches) else ""
        return Summary(
            f"Everything is up to date: {_count(len(watches), 'watch', 'watches')}, {about}{row_count:,} rows.", health
        )
    states, rows = _describe_states(watches), _describe_rows(watches)
    if states == _PHRASES["no sidecar"]:
        return Summary(f"No sidecar is running, so nothing is embedded{rows and f': {rows}'}.", health)
    what = f"{_count(len(watches), 'watch', 'watches')}: {states}{rows and f'; {rows}'}."
    if any(watch.state == "no sidecar is running" for watch in watches):
        what = f"No sidecar is running, so nothing is embedded. {what}"
    return Summary(what, health)


def _describe_rows(watches: Sequence[WatchStatus]) -> str:
    pending, failed = sum(watch.pending or 0 for watch in watches), sum(watch.failed for watch in watches)
    parts = [f"{_count(pending, 'row is', 'rows are')} pending"] if pending else []
    parts += [f"{_count(failed, 'row has', 'rows have')} failed"] if failed else []
    return ", ".join(parts)


def _describe_states(watches: Sequence[WatchStatus]) -> str:
    """`1 broken, 2 up to date`; without numbers where all are alike."""
    phrases = Counter(_phrase_of(watch) for watch in watches)
    if len(phrases) == 1:
        return next(iter(phrases))
    order = [*_PHRASES.values(), *phrases]
    return ", ".join(f"{phrases[phrase]} {phrase}" for phrase in sorted(phrases, key=order.index))


def _phrase_of(watch: WatchStatus) -> str:
    for beginning, phrase in _PHRASES.items():
        if watch.state.startswith(beginning):
            return phrase
    return "building its index" if (watch.index or "").startswith("building") else "up to date"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
