"""`sidecar search` with a service that requires a key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.command_line import CommandLine
from tests.integration.cli.conftest import Db, parse
from tests.integration.cli.test_search import write_title_vectors
from tests.integration.server.process import Process, sidecar_process

EMBED = "embed-key-0123456789"
ADMIN = "admin-key-0123456789"
PROGRAM = ("-m", "tests.integration.server.program", "hash")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    keys = f"embed:{EMBED},admin:{ADMIN}"
    with sidecar_process(tmp_path_factory.mktemp("guarded"), PROGRAM, DATABASE_URL="", API_KEYS=keys) as process:
        process.await_ready()
        yield process


@pytest.fixture
def titles(db: Db) -> Db:
    db.execute("select sidecar.watch('products', source => 'title', target => 'e')")
    write_title_vectors(db)
    return db


def test_the_key_from_the_environment_is_sent(
    titles: Db, guarded: Process, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_API_KEY", EMBED)
    found = parse(command_line.succeed("search", "products", "blue shoes", "--url", guarded.url, "--json"))
    assert found[0]["row"]["title"] == "blue shoes"


@pytest.mark.parametrize(
    ("key", "said", "advice"),
    [
        ("", "Send a key", "HINT: Set SIDECAR_API_KEY to one of the service's keys, with the scope `embed`."),
        ("wrong-key-0123456789", "not valid for this service", "HINT: SIDECAR_API_KEY is set, but is not a valid key"),
        (ADMIN, "lacks the scope `embed`", "HINT: Set SIDECAR_API_KEY to a key with the scope `embed`."),
    ],
)
def test_a_refused_key_is_an_error_with_advice(  # noqa: PLR0913, PLR0917 - fixtures and parameters
    titles: Db,
    guarded: Process,
    command_line: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    said: str,
    advice: str,
) -> None:
    monkeypatch.setenv("SIDECAR_API_KEY", key)
    error = command_line.fail("search", "products", "blue shoes", "--url", guarded.url)
    assert error.startswith(f"ERROR: the service at {guarded.url} refuses: ")
    assert said in error
    assert advice in error
    assert not key or key not in error
