from __future__ import annotations

import pytest

from sidecar.postgres.migrations import current_revision, head_revision
from tests.command_line import CommandLine


def test_migrate_goes_up_says_so_and_then_has_nothing_to_do(plain_database_url: str, command_line: CommandLine) -> None:
    text = command_line.succeed("migrate", "--database-url", plain_database_url)
    assert f"nothing → {head_revision()}" in text
    assert current_revision(plain_database_url) == head_revision()
    assert "Nothing to do" in command_line.succeed("migrate", "--database-url", plain_database_url)


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
