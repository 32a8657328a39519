"""The sentence with which `sidecar status` begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.postgres.status import WatchStatus
from sidecar.postgres.status_summary import Summary, summarize
from tests.unit.watch_status import UP_TO_DATE

FAILED = replace(UP_TO_DATE, state="up to date, but 3 rows failed", failed=3, health="warning")
BUSY = replace(UP_TO_DATE, state="catching up", pending=1, health="working")
BROKEN = replace(UP_TO_DATE, state="broken: a column is gone", pending=None, health="problem")
UNSERVED = replace(UP_TO_DATE, state="no sidecar is running", pending=452, health="problem")
INDEXING = replace(UP_TO_DATE, index="building: loading tuples 40%", health="working")
FOREIGN = replace(UP_TO_DATE, state="waiting for a sidecar with fingerprint g", pending=7, health="problem")

SENTENCES = [
    ([], "Nothing is watched.", "ok"),
    ([UP_TO_DATE], "Everything is up to date: 1 watch, 500 rows.", "ok"),
    ([UP_TO_DATE, UP_TO_DATE], "Everything is up to date: 2 watches, 1,000 rows.", "ok"),
    ([FAILED], "1 watch: up to date; 3 rows have failed.", "warning"),
    (
        [UP_TO_DATE, FAILED, BUSY],
        "3 watches: 1 catching up, 2 up to date; 1 row is pending, 3 rows have failed.",
        "warning",
    ),
    ([BROKEN, UP_TO_DATE], "2 watches: 1 broken, 1 up to date.", "problem"),
    ([UNSERVED], "No sidecar is running, so nothing is embedded: 452 rows are pending.", "problem"),
    (
        [UNSERVED, BROKEN],
        "No sidecar is running, so nothing is embedded. 2 watches: 1 broken, 1 not served; 452 rows are pending.",
        "problem",
    ),
    ([INDEXING], "1 watch: building its index.", "working"),
    ([FOREIGN], "1 watch: waiting for a sidecar with another model; 7 rows are pending.", "problem"),
    ([replace(UP_TO_DATE, state="paused", health="warning")], "1 watch: paused.", "warning"),
]  # fmt: skip


@pytest.mark.parametrize(("watches", "text", "health"), SENTENCES)
def test_one_sentence_says_how_all_watches_are(watches: list[WatchStatus], text: str, health: str) -> None:
    assert summarize(watches) == Summary(text, health)  # type: ignore[arg-type]
