"""`sidecar pause`, `sidecar resume`, `sidecar rate` and `sidecar reembed`"""

from __future__ import annotations

from typing import Any

import pytest

from tests.command_line import CommandLine
from tests.integration.cli.conftest import Db


@pytest.fixture
def watched(db: Db) -> Db:
    for target in ("e", "f"):
        db.execute("select sidecar.watch('products', source => 'title', target => %s::text)", [target])
    return db


def column(db: Db, name: str) -> list[Any]:
    query = f"select {name} from sidecar_internal.watches order by id"
    return [row[0] for row in db.execute(query.encode()).fetchall()]


def test_pause_and_resume_one_watch_a_table_or_all(watched: Db, command_line: CommandLine) -> None:
    assert command_line.succeed("pause", "products", "--target", "e") == "1 watch paused.\n"
    assert column(watched, "paused") == [True, False]
    assert command_line.succeed("pause") == "1 watch paused.\n"
    assert command_line.succeed("pause") == "No watch changed: none was running.\n"
    assert command_line.succeed("resume", "products") == "2 watches resumed.\n"
    assert command_line.succeed("resume") == "No watch changed: none was paused.\n"
    assert column(watched, "paused") == [False, False]


def test_a_rate_cap_is_set_shown_and_lifted(watched: Db, command_line: CommandLine) -> None:
    assert "1 watch changed: at most 2.5 rows a second" in command_line.succeed(
        "rate", "products", "2.5", "--target", "f"
    )
    assert column(watched, "rows_per_s") == [None, 2.5]
    assert "rate       at most 2.5 rows a second" in command_line.succeed("status")
    assert "2 watches changed" in command_line.succeed("rate", "all", "50")
    assert column(watched, "rows_per_s") == [50, 50]
    assert "without a cap" in command_line.succeed("rate", "products", "none")
    assert column(watched, "rows_per_s") == [None, None]


@pytest.mark.parametrize("rate", ["0", "-5", "-0.5", "nan", "inf"])
def test_a_rate_that_is_not_positive_and_finite_is_refused(watched: Db, command_line: CommandLine, rate: str) -> None:
    outcome = command_line("rate", "products", rate)
    assert outcome.code == 2
    assert f"{rate} is not a number above 0" in outcome.stderr
    assert "`sidecar pause` stops a watch" in outcome.stderr


def test_a_rate_that_is_not_a_number_is_wrong_usage(watched: Db, command_line: CommandLine) -> None:
    outcome = command_line("rate", "products", "fast")
    assert (outcome.code, "fast is neither a number nor `none`" in outcome.stderr) == (2, True)


def test_reembed_starts_a_backfill_and_may_name_another_model(watched: Db, command_line: CommandLine) -> None:
    watched.execute("update sidecar_internal.watches set fingerprint = 'old'")
    assert "All rows of products.e" in command_line.succeed("reembed", "products", "--target", "e", "--model", "new")
    assert (column(watched, "model"), column(watched, "fingerprint")) == (["new", None], [None, "old"])
    assert "has 2 watches" in command_line.fail("reembed", "products")


def test_reembed_reports_why_nothing_happens_yet(watched: Db, command_line: CommandLine) -> None:
    text = command_line.succeed("reembed", "products", "--target", "e")
    assert "Nothing happens for now. State of the watch: no sidecar is running" in text
