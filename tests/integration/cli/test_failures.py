"""`sidecar failures` and `sidecar retry`"""

from __future__ import annotations

import pytest

from tests.command_line import CommandLine
from tests.integration.cli.conftest import Db, fail_rows, parse


@pytest.fixture
def watched_twice(watched: Db) -> Db:
    watched.execute("select sidecar.watch('products', source => 'title', target => 'f')")
    return watched


def test_failures_are_listed_with_key_reason_and_message(watched: Db, command_line: CommandLine) -> None:
    nothing = command_line("failures")
    header = "relation\ttarget\tkey\treason\tmessage\tattempts\tat\n"
    assert (nothing.code, nothing.stdout, nothing.stderr) == (0, header, "No row has failed.\n")
    fail_rows(watched, not_a_picture=2, worker_crashed=3)
    text = command_line.succeed("failures")
    assert all(word in text for word in ('{"id": 2}', "not_a_picture", "It is [broken]."))
    found = parse(command_line.succeed("failures", "products", "--json"))
    assert {(row["key"]["id"], row["reason"], row["attempts"]) for row in found} == {
        (2, "not_a_picture", 5),
        (3, "worker_crashed", 5),
    }
    limited = command_line("failures", "--limit", "1", "--columns", "reason,attempts")
    assert limited.stdout == "reason\tattempts\nworker_crashed\t5\n" or "not_a_picture\t5" in limited.stdout
    assert "--limit" in limited.stderr, "not among the rows"
    assert "Did you mean reason?" in command_line("failures", "--columns", "reasons").stderr


def test_failures_are_grouped_by_reason_with_example_and_advice(watched_twice: Db, command_line: CommandLine) -> None:
    fail_rows(watched_twice, not_a_picture=1, worker_crashed=3)
    watched_twice.execute(
        "insert into sidecar_internal.failures (watch_id, key, gen, attempts, reason, message)"
        """ values (1, '{"id": 2}', 1, 5, 'not_a_picture', 'It is [broken].')"""
    )
    text = command_line.succeed("failures", "products", "--by-reason").splitlines()
    assert [line.split()[0] for line in text] == [
        *("products.e:", "such", "to", "rows"),  # no retry, which could not help
        *("products.e:", "such", "to", "rows", "retry"),
    ]
    assert text[0] == "products.e: 2 × not_a_picture"
    assert "It is [broken]." in text[1]
    assert text[4] == "products.e: 1 × worker_crashed"
    assert text[8].split(maxsplit=1)[1] == "sidecar retry products --target e --reason worker_crashed"
    (first, second) = parse(command_line.succeed("failures", "--by-reason", "--json"))
    assert (first["reason"], first["failures"], second["reason"], second["failures"]) == (
        *("not_a_picture", 2),
        *("worker_crashed", 1),
    )
    assert first["example_key"]["id"] in {1, 2}
    assert first["advice"].startswith("Replace the content with a picture")
    rows = watched_twice.execute(first["rows_statement"]).fetchall()
    assert sorted((key, message) for key, _, message in rows) == [(1, "It is [broken]."), (2, "It is [broken].")]
    assert first["retry_statement"] is None


def test_retry_of_a_table_of_one_key_or_of_one_reason(watched: Db, command_line: CommandLine) -> None:
    def retried() -> list[int]:
        rows = watched.execute("delete from sidecar_internal.events_1 returning k1").fetchall()
        return sorted(row[0] for row in rows)

    fail_rows(watched, not_a_picture=2, worker_crashed=3)
    retried()
    outcome = command_line("retry", "products")
    assert (outcome.code, outcome.stdout) == (0, "2 rows will be tried again.\n")
    warning, hint = outcome.stderr.splitlines()
    assert warning.startswith("WARNING: 1 row of public.products.e failed with not_a_picture, and will fail again")
    assert watched.execute(hint.partition("To find the rows: ")[2].encode()).fetchall()[0][0] == 2
    assert retried() == [2, 3]
    assert "1 row will" in command_line.succeed("retry", "products", "--key", '{"id": 3}')
    assert retried() == [3]
    assert "1 row will" in command_line("retry", "products", "--reason", "not_a_picture").stdout
    assert retried() == [2]


def test_a_key_that_is_not_json_is_wrong_usage(watched: Db, command_line: CommandLine) -> None:
    outcome = command_line("retry", "products", "--key", "id=7")
    assert outcome.code == 2
    assert "id=7 is not a JSON object" in outcome.stderr


def test_a_key_of_other_columns_is_refused(watched: Db, command_line: CommandLine) -> None:
    assert "HINT: Say: key =>" in command_line.fail("retry", "products", "--key", '{"nr": 7}')


def test_retry_all_covers_all_watches_or_one_reason_of_all(watched_twice: Db, command_line: CommandLine) -> None:
    fail_rows(watched_twice, not_a_picture=1, worker_crashed=3)
    watched_twice.execute(
        "insert into sidecar_internal.failures select 2, key, gen, attempts, reason, message from "
        "sidecar_internal.failures"
    )
    for watch in (1, 2):
        watched_twice.execute(f"delete from sidecar_internal.events_{watch}".encode())
    assert "2 rows will" in command_line.succeed("retry", "--all", "--reason", "worker_crashed")
    assert "4 rows will" in command_line("retry", "--all").stdout
    counts = watched_twice.execute(
        "select (select count(*) from sidecar_internal.events_1), (select count(*) from sidecar_internal.events_2)"
    )
    assert counts.fetchone() == (3, 3)


@pytest.mark.parametrize("arguments", [(), ("--all", "--target", "e"), ("--all", "--key", "{}")])
def test_retry_without_a_clear_choice_is_wrong_usage(
    watched_twice: Db, command_line: CommandLine, arguments: tuple[str, ...]
) -> None:
    assert command_line("retry", *arguments).code == 2
