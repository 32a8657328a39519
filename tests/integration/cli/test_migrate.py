from __future__ import annotations

import psycopg
import pytest

from sidecar.operations.migrations import current_revision, head_revision
from tests.command_line import CommandLine

OTHER_CODE = f"""
    create or replace function sidecar.installation(out revision text, out code_digest text)
    language sql immutable as $$ select '{head_revision()}', 'another' $$
""".encode()


def test_migrate_goes_up_says_so_and_then_has_nothing_to_do(plain_database_url: str, command_line: CommandLine) -> None:
    text = command_line.succeed("migrate", "--database-url", plain_database_url)
    assert f"nothing → {head_revision()}" in text
    assert current_revision(plain_database_url) == head_revision()
    assert "Nothing to do" in command_line.succeed("migrate", "--database-url", plain_database_url)


def test_migrate_replaces_functions_of_another_version_and_says_so(
    database_url: str, command_line: CommandLine
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(OTHER_CODE)
    assert "its functions and views are this version's now" in command_line.succeed(
        "migrate", "--database-url", database_url
    )
    assert "Nothing to do" in command_line.succeed("migrate", "--database-url", database_url)


def test_migrate_leaves_a_schema_alone_that_a_newer_version_migrated(
    database_url: str, command_line: CommandLine
) -> None:
    """A deployment of the version before runs its migrate, too."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update sidecar.alembic_version set version_num = '9999'")
        connection.execute(OTHER_CODE)
        said = command_line.succeed("migrate", "--database-url", database_url)
        assert "Nothing to do: schema `sidecar` is at revision 9999. A newer version migrated it" in said
        assert connection.execute("select code_digest from sidecar.installation()").fetchone() == ("another",)


def test_migrate_goes_past_a_pooler(
    plain_database_url: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://pooler@127.0.0.1:1/shop")
    monkeypatch.setenv("LISTEN_DATABASE_URL", plain_database_url)
    assert f"nothing → {head_revision()}" in command_line.succeed("migrate")
    assert "cannot connect" in command_line.fail("migrate", "--database-url", "postgresql://pooler@127.0.0.1:1/shop")


def test_migrate_goes_down_to_where_it_is_told(database_url: str, command_line: CommandLine) -> None:
    assert "→ removed" in command_line.succeed("migrate", "--revision", "base", "--database-url", database_url)
    assert current_revision(database_url) is None


@pytest.mark.parametrize("command", [("status",), ("watch", "t", "--source", "a"), ("failures",), ("search", "t", "x")])
def test_a_database_that_is_not_migrated_is_told_how(
    plain_database_url: str, command_line: CommandLine, command: tuple[str, ...]
) -> None:
    error = command_line.fail(*command, "--database-url", plain_database_url)
    assert "has no schema `sidecar`" in error
    assert "HINT: sidecar migrate" in error
