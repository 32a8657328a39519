"""How often the feed reads the database."""

from __future__ import annotations

import json
from unittest.mock import Mock

import pytest

from sidecar.concurrency import background
from sidecar.http.events import feed
from sidecar.http.events.feed import EventFeed
from sidecar.telemetry.history import Backlog, History
from tests.waiting import wait_until_async


async def test_the_history_follows_a_backlog_that_no_client_looks_at_and_then_rests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read once a minute, it once showed rows as waiting that had their vectors."""
    monkeypatch.setattr(feed, "INTERVAL_S", 0.005)
    history, left, read = History(lanes=["ingest"]), [3, 2, 1, 0, 9], dict[str, Backlog]()

    async def refresh() -> None:
        read["t.e"] = Backlog(left.pop(0), 0)

    def pending() -> list[int]:
        return [sample["watches"]["t.e"]["pending"] for sample in json.loads(history.as_json())["samples"]]

    async def has_many() -> bool:
        return len(pending()) > 10

    async with background(EventFeed(history, refresh, lambda: read, Mock()).run(), "feed"):
        await wait_until_async(has_many, "samples")
    assert pending()[:5] == [3, 2, 1, 0, 0]
    assert left == [9]
