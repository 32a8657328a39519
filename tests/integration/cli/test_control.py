"""`pause`, `resume`, `rate`, `reembed`, and the listing and retrying of failures by reason."""

from __future__ import annotations

from typing import Any, TypeAlias

import psycopg
import pytest

from tests.command_line import CommandLine
from tests.integration.cli.conftest import parse
from tests.integration.cli.test_progress import fail_rows

Db: TypeAlias = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def watched(db: Db) -> Db:
    for target in ("e", "f"):
        db.execute("select sidecar.watch('products', source => 'title', target => %s::text)", [target])
    return db


def column(db: Db, name: str) -> list[Any]:
    query = f"select {name} from sidecar.watches order by id"
    return [row[0] for row in db.execute(query.encode()).fetchall()]


def test_pause_and_resume_take_a_watch_a_table_or_all(watched: Db, command_line: CommandLine) -> None:
    assert command_line.succeed("pause", "products", "--target", "e") == "1 watch paused.\n"
    assert column(watched, "paused") == [True, False]
    assert command_line.succeed("pause") == "1 watch paused.\n"
    assert command_line.succeed("pause") == "No watch changed: none was running.\n"
    assert command_line.succeed("resume", "products") == "2 watches resumed.\n"
    assert command_line.succeed("resume") == "No watch changed: none was paused.\n"
    assert column(watched, "paused") == [False, False]


def test_a_rate_is_set_shown_and_lifted(watched: Db, command_line: CommandLine) -> None:
    assert "1 watch changed: at most 2.5 rows a second" in command_line.succeed(
        "rate", "products", "2.5", "--target", "f"
    )
    assert column(watched, "rows_per_s") == [None, 2.5]
    assert "rate    at most 2.5 rows a second" in command_line.succeed("status")
    assert "2 watches changed" in command_line.succeed("rate", "all", "50")
    assert column(watched, "rows_per_s") == [50, 50]
    assert "without a cap" in command_line.succeed("rate", "products", "none")
    assert column(watched, "rows_per_s") == [None, None]


@pytest.mark.parametrize("rate", ["0", "-5", "-0.5", "nan", "inf"])
def test_a_rate_that_is_none_is_refused(watched: Db, command_line: CommandLine, rate: str) -> None:
    outcome = command_line("rate", "products", rate)
    assert outcome.code == 2
    assert f"{rate} is not a number above 0" in outcome.stderr
    assert "`sidecar pause` stops a watch" in outcome.stderr


def test_a_rate_that_is_no_number_is_wrong_usage(watched: Db, command_line: CommandLine) -> None:
    outcome = command_line("rate", "products", "fast")
    assert (outcome.code, "fast is neither a number nor `none`" in outcome.stderr) == (2, True)


def test_reembed_starts_a_backfill_and_may_name_another_model(watched: Db, command_line: CommandLine) -> None:
    watched.execute("update sidecar.watches set fingerprint = 'old'")
    assert "All rows of products.e" in command_line.succeed("reembed", "products", "--target", "e", "--model", "new")
    assert (column(watched, "model"), column(watched, "fingerprint")) == (["new", None], [None, "old"])
    assert "has 2 watches" in command_line.fail("reembed", "products")


def test_reembed_tells_what_keeps_it_from_beginning(watched: Db, command_line: CommandLine) -> None:
    told = command_line.succeed("reembed", "products", "--target", "e")
    assert "For now nothing happens. State of the watch: no sidecar is running" in told


def test_failures_are_grouped_by_reason_with_an_example_and_what_to_do(watched: Db, command_line: CommandLine) -> None:
    fail_rows(watched, not_a_picture=1, worker_crashed=3)
    watched.execute(
        "insert into sidecar.dead_letters (watch_id, key, gen, attempts, reason, message)"
        """ values (1, '{"id": 2}', 1, 5, 'not_a_picture', 'It is [broken].')"""
    )
    text = command_line.succeed("failures", "products", "--by-reason").splitlines()
    assert text[0] == "products.e: 2 × not_a_picture"
    assert "It is [broken]." in text[1]
    assert text[3].split(maxsplit=1)[1] == "sidecar retry products --target e --reason not_a_picture"
    assert text[4] == "products.e: 1 × worker_crashed"
    (first, second) = parse(command_line.succeed("failures", "--by-reason", "--json"))
    assert (first["reason"], first["failures"], second["reason"], second["failures"]) == (
        *("not_a_picture", 2),
        *("worker_crashed", 1),
    )
    assert first["example_key"]["id"] in {1, 2}
    assert first["advice"].startswith("Put a whole picture")


def test_retry_all_takes_every_watch_or_one_reason_of_all(watched: Db, command_line: CommandLine) -> None:
    fail_rows(watched, not_a_picture=1, worker_crashed=3)
    watched.execute(
        "insert into sidecar.dead_letters select 2, key, gen, attempts, reason, message from sidecar.dead_letters"
    )
    for watch in (1, 2):
        watched.execute(f"delete from sidecar.events_{watch}".encode())
    assert "2 rows will" in command_line.succeed("retry", "--all", "--reason", "worker_crashed")
    assert "4 rows will" in command_line.succeed("retry", "--all")
    counts = watched.execute("select (select count(*) from sidecar.events_1), (select count(*) from sidecar.events_2)")
    assert counts.fetchone() == (3, 3)


@pytest.mark.parametrize("arguments", [(), ("--all", "--target", "e"), ("--all", "--key", "{}")])
def test_retry_has_to_be_told_what(watched: Db, command_line: CommandLine, arguments: tuple[str, ...]) -> None:
    assert command_line("retry", *arguments).code == 2
