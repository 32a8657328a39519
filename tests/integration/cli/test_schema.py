"""`sidecar migrate`, and commands on a database that is not migrated."""

from __future__ import annotations

import psycopg
import pytest

from sidecar.operations.migrations import current_revision, head_revision
from tests.command_line import CommandLine

OTHER_CODE = f"""
    create or replace function sidecar.installation(out revision text, out code_digest text)
    language sql immutable as $$ select '{head_revision()}', 'another' $$
""".encode()


def test_migrate_upgrades_once_and_reports_it(plain_database_url: str, command_line: CommandLine) -> None:
    text = command_line.succeed("migrate", "--database-url", plain_database_url)
    assert f"nothing → {head_revision()}" in text
    assert current_revision(plain_database_url) == head_revision()
    assert "Nothing to do" in command_line.succeed("migrate", "--database-url", plain_database_url)


def test_migrate_replaces_functions_of_another_version_and_reports_it(
    database_url: str, command_line: CommandLine
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(OTHER_CODE)
    assert "its functions and views are this version's now" in command_line.succeed(
        "migrate", "--database-url", database_url
    )
    assert "Nothing to do" in command_line.succeed("migrate", "--database-url", database_url)


def test_migrate_leaves_the_schema_of_a_newer_version_alone(database_url: str, command_line: CommandLine) -> None:
    """A deployment of the previous version runs its own migrate."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update sidecar.alembic_version set version_num = '9999'")
        connection.execute(OTHER_CODE)
        text = command_line.succeed("migrate", "--database-url", database_url)
        assert "Nothing to do: schema `sidecar` is at revision 9999. A newer version migrated it" in text
        assert connection.execute("select code_digest from sidecar.installation()").fetchone() == ("another",)


def test_migrate_bypasses_a_pooler(
    plain_database_url: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://pooler@127.0.0.1:1/shop")
    monkeypatch.setenv("LISTEN_DATABASE_URL", plain_database_url)
    assert f"nothing → {head_revision()}" in command_line.succeed("migrate")
    assert "cannot connect" in command_line.fail("migrate", "--database-url", "postgresql://pooler@127.0.0.1:1/shop")


def test_migrate_to_base_removes_the_schema(database_url: str, command_line: CommandLine) -> None:
    assert "→ removed" in command_line.succeed("migrate", "--revision", "base", "--database-url", database_url)
    assert current_revision(database_url) is None


@pytest.mark.parametrize("command", [("status",), ("watch", "t", "--source", "a"), ("failures",), ("search", "t", "x")])
def test_on_a_database_without_the_schema_commands_point_to_migrate(
    plain_database_url: str, command_line: CommandLine, command: tuple[str, ...]
) -> None:
    error = command_line.fail(*command, "--database-url", plain_database_url)
    assert "has no schema `sidecar`" in error
    assert "HINT: sidecar migrate" in error
