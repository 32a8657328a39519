"""The state of the database for the whole process, as /healthz, the log and the status of the command line say it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.errors import DatabaseUnavailable
from sidecar.postgres import outage as module
from sidecar.postgres.outage import Outage


class Clock(datetime):
    """`datetime` whose now() is a minute later at each call."""

    calls = 0

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        cls.calls += 1
        return datetime(2026, 11, 29, 9, 0, tzinfo=UTC) + timedelta(minutes=cls.calls)


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    monkeypatch.setattr(module, "datetime", type("Clock", (Clock,), {"calls": 0}))
    return Outage()


def test_a_database_that_was_never_tried_is_neither_ok_nor_gone(outage: Outage) -> None:
    assert (str(outage), outage.since) == ("not tried yet", None)


def test_an_outage_counts_from_the_first_error_and_not_from_the_last(outage: Outage) -> None:
    for _ in range(3):
        outage.report(DatabaseUnavailable("connection refused"))
    assert str(outage) == "gone since 2026-11-29 09:01:00 UTC, trying again"


def test_a_second_outage_counts_from_its_own_beginning(outage: Outage) -> None:
    outage.report(DatabaseUnavailable("connection refused"))
    outage.resolve()
    assert str(outage) == "ok"
    outage.report(DatabaseUnavailable("connection refused"))
    assert str(outage) == "gone since 2026-11-29 09:02:00 UTC, trying again"
