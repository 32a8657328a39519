"""Each command of a role without rights ends with one ERROR and one HINT, whose statement helps."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.command_line import CommandLine
from tests.encoders import HashEncoder
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.watched_table import user, value
from tests.integration.roles.cast import PASSWORD, Stage
from tests.integration.sql.session import run
from tests.waiting import wait_until_async

COMMANDS = {
    "status": (),
    "failures": (),
    "doctor": (),
    "pause": (),
    "resume": (),
    "rate": ("all", "none"),
    "retry": ("shop.items",),
    "plan": ("shop.items", "title", "--dimensions", "16"),
    "texts": ("shop.items", "--truncated"),
    "search": ("shop.items", "red", "--url", "http://127.0.0.1:9"),  # where nothing listens
    "reembed": ("shop.items",),
    "watch": ("shop.items", "--source", "title", "--target", "other", "--dimensions", "16"),
    "unwatch": ("shop.items",),
    "uninstall": ("--yes",),
}


@pytest.fixture
def newcomer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a role that may log in, and nothing else. DATABASE_URL is its own."""
    with psycopg.connect(stage.admin, autocommit=True) as admin:
        name = f"newcomer_{admin.info.dbname}"
        run(admin, f"create role {name} login password '{PASSWORD}'")
        run(admin, f"set role {stage.cast.owner}")
        run(admin, "create table shop.items (id bigint primary key, title text)")
        run(admin, "select sidecar.watch('shop.items', 'title', target => 'e', dimensions => 16)")
        run(admin, "reset role")
        monkeypatch.setenv("DATABASE_URL", stage.cast.url(stage.admin, name))
        yield name
        for command in ("reassign owned by {} to postgres", "drop owned by {}", "drop role {}"):
            admin.execute(sql.SQL(command).format(sql.Identifier(name)))


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_statement_of_the_hint_lets_the_command_run(
    stage: Stage, newcomer: str, command_line: CommandLine, command: str
) -> None:
    run_hint(stage, command_line.fail(command, *COMMANDS[command]))
    if command == "uninstall":  # needs the owner of each watched table, too
        run_hint(stage, command_line.fail(command, *COMMANDS[command]))
    outcome = command_line(command, *COMMANDS[command])
    if command == "search":  # the next thing that it needs is the service
        assert "the service does not answer" in outcome.stderr
    else:
        assert outcome.code in ({0, 3} if command in {"doctor", "plan"} else {0}), outcome


@pytest.mark.parametrize("command", ["status", "failures"])
def test_a_table_in_a_schema_that_the_role_may_not_use_gets_the_grants_one_after_the_other(
    stage: Stage, newcomer: str, command_line: CommandLine, command: str
) -> None:
    run_hint(stage, command_line.fail(command, "shop.items"))
    error = command_line.fail(command, "shop.items")
    assert "permission denied for schema shop" in error
    run_hint(stage, error)
    assert command_line(command, "shop.items").code == 0


def test_plan_needs_no_more_rights_on_a_large_table(stage: Stage, newcomer: str, command_line: CommandLine) -> None:
    with psycopg.connect(stage.admin, autocommit=True) as admin:  # 17 MB, of which the rows are estimated
        run(admin, "alter table shop.items alter title set storage plain")
        run(admin, "insert into shop.items select i, repeat('x', 8000) from generate_series(1, 2200) i")
        run(admin, "analyze shop.items")
    run_hint(stage, command_line.fail("plan", "shop.items", "title"))
    outcome = command_line("plan", "shop.items", "title", "--json")
    assert (outcome.code, '"estimated": true' in outcome.stdout) == (3, True), outcome


def test_verify_asks_for_the_rights_of_a_worker(stage: Stage, newcomer: str, command_line: CommandLine) -> None:
    run_hint(stage, command_line.fail("verify", "shop.items"))
    with psycopg.connect(stage.cast.url(stage.admin, newcomer), autocommit=True) as connection:
        run(connection, "select sidecar.verify('shop.items')")


def test_migrate_asks_for_the_right_that_it_lacks(stage: Stage, newcomer: str, command_line: CommandLine) -> None:
    run_hint(stage, command_line.fail("migrate"))
    assert "Nothing to do" in command_line.succeed("migrate")
    with psycopg.connect(stage.admin, autocommit=True) as admin:
        run(admin, "drop schema sidecar, sidecar_internal cascade")
    run_hint(stage, command_line.fail("migrate"))
    assert "nothing →" in command_line.succeed("migrate")


def test_a_schema_that_belongs_to_another_role_gets_the_owner_of_the_other_one(
    stage: Stage, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(stage.admin, autocommit=True) as admin:
        run(admin, "drop schema sidecar, sidecar_internal cascade")
        run(admin, f"create schema sidecar authorization {stage.cast.installer}")
        run(admin, f"create schema sidecar_internal authorization {stage.cast.outsider}")
    monkeypatch.setenv("DATABASE_URL", stage.installer)
    run_hint(stage, command_line.fail("migrate"))
    assert "nothing →" in command_line.succeed("migrate")


def run_hint(stage: Stage, error: str) -> None:
    [statements] = re.findall(r"^HINT: .* run: (.*)$", error, re.MULTILINE)
    with psycopg.connect(stage.admin, autocommit=True) as admin:
        run(admin, statements)


async def test_a_sidecar_without_rights_logs_the_grant_once_and_works_when_it_is_given(
    stage: Stage, newcomer: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = stage.cast.url(stage.admin, newcomer)
    async with running_ingest(url, HashEncoder(dimensions=16)), user(stage.admin) as admin:

        async def has_logged() -> bool:
            return bool(hints())

        def hints() -> list[str]:
            return [record.getMessage() for record in caplog.records if "HINT: " in record.getMessage()]

        await wait_until_async(has_logged, "the hint", timeout_s=20)
        [line] = hints()
        await admin.execute(line.partition("run: ")[2].encode())

        async def has_heartbeat() -> bool:
            return bool(await value(admin, "select count(*) from sidecar_internal.sidecars"))

        await wait_until_async(has_heartbeat, "the sidecar to work", timeout_s=20)
        assert hints() == [line]
