"""`status`, `failures` and `retry`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest

from tests.command_line import CommandLine
from tests.integration.cli.conftest import parse
from tests.integration.server.process import ROOT, sidecar_process
from tests.waiting import wait_until

Db: TypeAlias = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def watched(db: Db) -> Db:
    db.execute("select sidecar.watch('products', source => 'title', target => 'e')")
    return db


def fail_rows(db: Db, **reasons: int) -> None:
    """As a sidecar leaves them: the ledger says `failed`, and a dead letter says why."""
    for reason, key in reasons.items():
        db.execute("insert into sidecar.ledger_1 (k1, gen, content_hash) values (%s, 1, 'failed')", [key])
        db.execute(
            "insert into sidecar.dead_letters (watch_id, key, gen, attempts, reason, message)"
            " values (1, jsonb_build_object('id', %s::bigint), 1, 5, %s, 'It is [broken].')",
            [key, reason],
        )


def test_without_a_watch_status_says_how_to_start(db: Db, command_line: CommandLine) -> None:
    assert "sidecar watch" in command_line.succeed("status")
    assert parse(command_line.succeed("status", "--json")) == []


def test_status_shows_every_watch(watched: Db, command_line: CommandLine) -> None:
    fail_rows(watched, not_a_picture=2)
    text = command_line.succeed("status")
    assert text.splitlines()[0] == "products.e: no sidecar is running"
    assert "3: 0 embedded (0 %), 2 pending" in text
    assert "1: sidecar failures products" in text
    (watch,) = parse(command_line.succeed("status", "products", "--exact", "--json"))
    assert (watch["rows"], watch["pending"], watch["failed"], watch["estimated"]) == (3, 2, 1, False)


def test_status_of_a_table_is_that_of_its_watches(watched: Db, command_line: CommandLine) -> None:
    watched.execute("create table other (id bigint primary key, title text)")
    watched.execute("select sidecar.watch('other', source => 'title')")
    assert len(parse(command_line.succeed("status", "--json"))) == 2
    assert [watch["relation"] for watch in parse(command_line.succeed("status", "other", "--json"))] == ["other"]


# A shell that runs the tests in the background has told its children to ignore Ctrl-C.
_PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from sidecar.cli import main
main()
"""


@pytest.mark.parametrize("as_json", [True, False])
def test_following_shows_progress_until_ctrl_c(watched: Db, database_url: str, tmp_path: Path, as_json: bool) -> None:
    command = [sys.executable, "-c", _PROGRAM, "status", "--follow", *(["--json"] if as_json else [])]
    output = tmp_path / "output"
    with (
        output.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as following,
    ):
        try:
            wait_until(lambda: "no sidecar is running" in output.read_text(), "the first state")
            with sidecar_process(
                tmp_path, ("-m", "tests.integration.server.program", "hash"), DATABASE_URL=os.environ["DATABASE_URL"]
            ) as process:
                process.await_ready()
                wait_until(lambda: "up to date" in output.read_text(), output.read_text, timeout_s=20)
                process.stop()
                assert process.exit_code() == 0
            following.send_signal(signal.SIGINT)
            assert following.wait(10) == 0
        finally:
            following.kill()
    lines = output.read_text().splitlines()
    assert "Traceback" not in output.read_text()
    if as_json:
        last = next(json.loads(line) for line in lines if "up to date" in line)
        assert (last["embedded"], last["pending"], last["eta_s"]) == (3, 0, 0)
    else:
        assert lines[0].startswith("products.e  0/3  0 rows/s")
        assert any(line.startswith("products.e  3/3  done") for line in lines)


def test_failures_are_listed_with_key_reason_and_message(watched: Db, command_line: CommandLine) -> None:
    assert "No row has failed" in command_line.succeed("failures")
    fail_rows(watched, not_a_picture=2, worker_crashed=3)
    text = command_line.succeed("failures")
    assert all(word in text for word in ('{"id": 2}', "not_a_picture", "It is [broken]."))
    found = parse(command_line.succeed("failures", "products", "--json"))
    assert {(row["key"]["id"], row["reason"], row["attempts"]) for row in found} == {
        (2, "not_a_picture", 5),
        (3, "worker_crashed", 5),
    }
    assert "--limit" in command_line.succeed("failures", "--limit", "1")


def test_retry_takes_all_one_key_or_one_reason(watched: Db, command_line: CommandLine) -> None:
    def retried() -> list[int]:
        rows = watched.execute("delete from sidecar.events_1 returning k1").fetchall()
        return sorted(row[0] for row in rows)

    fail_rows(watched, not_a_picture=2, worker_crashed=3)
    retried()
    assert "2 rows will" in command_line.succeed("retry", "products")
    assert retried() == [2, 3]
    assert "1 row will" in command_line.succeed("retry", "products", "--key", '{"id": 3}')
    assert retried() == [3]
    assert "1 row will" in command_line.succeed("retry", "products", "--reason", "not_a_picture")
    assert retried() == [2]


def test_a_key_that_is_no_json_is_wrong_usage(watched: Db, command_line: CommandLine) -> None:
    outcome = command_line("retry", "products", "--key", "id=7")
    assert outcome.code == 2
    assert "id=7 is not a JSON object" in outcome.stderr


def test_a_key_of_other_columns_is_refused(watched: Db, command_line: CommandLine) -> None:
    assert "HINT: Say: key =>" in command_line.fail("retry", "products", "--key", '{"nr": 7}')
