"""`--json`: exactly one line on stdout, also for errors; an array from commands that list, an object from others."""

from __future__ import annotations

import io
import sys

import pytest

from tests.command_line import CommandLine
from tests.integration.cli.conftest import Db, parse
from tests.integration.cli.test_search import write_title_vectors
from tests.integration.server.process import Process
from tests.unit.cli.test_help import COMMANDS

WITHOUT_JSON = {"mcp", "demo", "serve", "ray"}
NEEDS_A_SIDECAR = {"verify"}
COMMAND_LINES: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "migrate": ((), {"before", "after", "seconds"}),
    "plan": (("products", "brand"), {"relation", "rows", "views", "device_s", "index_bytes", "disk_bytes", "refusal"}),
    "watch": (("products", "--source", "brand"), {"relation", "target", "state", "pending", "query"}),
    "unwatch": (("products",), {"relation", "target", "vectors", "remains"}),
    "pause": ((), {"table", "target", "paused", "changed"}),
    "resume": (("products",), {"table", "target", "paused", "changed"}),
    "rate": (("products", "50"), {"table", "target", "rows_per_s", "changed"}),
    "reembed": (("products",), {"relation", "target", "model"}),
    "retry": (("products",), {"table", "target", "reason", "enqueued"}),
    "doctor": ((), {"findings", "not_checked", "facts"}),
    "uninstall": (("--yes",), {"removed", "remains"}),
    "status": (("products",), {"relation", "target", "state", "pending", "index_statement", "rows_per_s"}),
    "failures": (("products",), {"relation", "target", "key", "reason", "message", "attempts", "at"}),
    "texts": (("products", "--truncated"), {"key", "embedded_at"}),
    "search": (("products", "a hat"), {"key", "distance", "row"}),
}
# tests/e2e/test_exported_demo.py, test_bench.py, test_backfill.py, tests/integration/operators/test_recall.py
TESTED_ELSEWHERE = {"export", "bench", "backfill", "recall"}
LISTS = {"status", "failures", "texts", "search"}


@pytest.fixture
def watched(db: Db) -> Db:
    db.execute("select sidecar.watch('products', source => 'title', target => 'e')")
    write_title_vectors(db)
    db.execute(
        "insert into sidecar_internal.ledger_1 (k1, gen, content_hash, vector_digest, truncated)"
        " values (1, 1, sha256('text'), sha256('vector'), true)"
    )
    db.execute(
        "insert into sidecar_internal.failures (watch_id, key, gen, attempts, reason, message)"
        """ values (1, '{"id": 2}', 1, 5, 'worker_crashed', 'It ended.')"""
    )
    return db


def test_every_command_that_prints_json_is_tested_here() -> None:
    assert set(COMMAND_LINES) | WITHOUT_JSON | NEEDS_A_SIDECAR | TESTED_ELSEWHERE == set(COMMANDS)


@pytest.mark.parametrize("command", COMMAND_LINES)
def test_a_command_prints_one_line_of_json(
    watched: Db, service: Process, command_line: CommandLine, command: str
) -> None:
    arguments, keys = COMMAND_LINES[command]
    options = ["--url", service.url] if command == "search" else []
    outcome = command_line(command, *arguments, *options, "--json")
    assert outcome.code == (3 if command == "doctor" else 0), outcome
    answer = parse(outcome.stdout)
    assert isinstance(answer, list) == (command in LISTS)
    example = answer[0] if command in LISTS else answer
    assert keys <= set(example), example
    assert all(key == key.lower() for key in example)


@pytest.mark.parametrize("command", [c for c in COMMAND_LINES if c not in {"migrate", "doctor", "uninstall", "pause"}])
def test_an_error_is_one_line_of_json_too_and_text_on_stderr(db: Db, command_line: CommandLine, command: str) -> None:
    arguments = [argument.replace("products", "produtcs") for argument in COMMAND_LINES[command][0]]
    outcome = command_line(command, *arguments, "--json")
    assert outcome.code == 1
    error = parse(outcome.stdout)["error"]
    assert set(error) == {"code", "message", "hint"}
    assert error["code"] == "42P01"
    assert error["message"] == 'relation "produtcs" does not exist'
    assert outcome.stderr.splitlines() == [f"ERROR: {error['message']}", f"HINT: {error['hint']}"]


def test_an_error_has_its_kind_as_code_and_a_separate_hint(command_line: CommandLine) -> None:
    outcome = command_line("status", "--json", "--database-url", "postgresql://me:hunter2@127.0.0.1:1/shop")
    error = parse(outcome.stdout)["error"]
    assert (outcome.code, error["code"]) == (1, "database_unavailable")
    assert error["hint"].startswith("Nothing listens there")
    assert "hunter2" not in outcome.stdout


def test_numbers_are_json_numbers_and_times_are_iso_8601(watched: Db, command_line: CommandLine) -> None:
    (failure,) = parse(command_line.succeed("failures", "--json"))
    assert (failure["key"], failure["attempts"]) == ({"id": 2}, 5)
    assert "T" in failure["at"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("rate", "products", "many"),
        ("wach",),
        ("watch",),
        ("failures", "--limit", "0"),
        ("retry",),
        ("watch", "p", "--x"),
    ],
)
def test_wrong_usage_is_one_line_of_json_too(command_line: CommandLine, arguments: tuple[str, ...]) -> None:
    outcome = command_line(*arguments, "--json")
    error = parse(outcome.stdout)["error"]
    assert (outcome.code, error["code"]) == (2, "wrong_usage")
    assert error["message"] in outcome.stderr


def test_a_question_answered_with_no_is_an_error_in_json(
    watched: Db, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    outcome = command_line("uninstall", "--json")
    assert (outcome.code, parse(outcome.stdout)["error"]["code"]) == (1, "aborted")
