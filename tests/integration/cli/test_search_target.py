"""The watch that `sidecar search` chooses if the table has several and no target is given."""

from __future__ import annotations

import pytest

from tests.command_line import CommandLine
from tests.encoders import HashEncoder
from tests.integration.cli.conftest import Db, parse
from tests.integration.server.process import Process


@pytest.fixture
def vector() -> str:
    """The vector of the text `a hat`."""
    return str(HashEncoder().vector_of("a hat").tolist())


def test_the_watch_on_pictures_is_searched_and_named(
    db: Db, service: Process, command_line: CommandLine, vector: str
) -> None:
    db.execute("select sidecar.watch('products', source => 'title', target => 'title_vector')")
    db.execute("select sidecar.watch('products', source => 'photo', target => 'photo_vector')")
    db.execute("update products set photo_vector = %s where id = 1", [vector])
    db.execute("update products set title_vector = %s where id = 2", [vector])
    outcome = command_line("search", "products", "a hat", "--url", service.url, "--json")
    assert [row["row"]["id"] for row in parse(outcome.stdout)] == [1]
    assert outcome.stderr == (
        "Searching products.photo_vector, 0 of 3 rows so far; for another: --target title_vector\n"
    )
    named = command_line("search", "products", "a hat", "--url", service.url, "--json", "--target", "title_vector")
    assert [row["row"]["id"] for row in parse(named.stdout)] == [2]
    assert named.stderr == ""


def test_among_several_watches_on_texts_one_has_to_be_named(
    db: Db, service: Process, command_line: CommandLine
) -> None:
    for column in ("title", "brand"):
        db.execute("select sidecar.watch('products', source => %s::text, target => %s::text)", [column, f"{column}_e"])
    error = command_line.fail("search", "products", "a hat", "--url", service.url)
    assert "title_e" in error
    assert "brand_e" in error


def test_an_only_watch_is_searched_without_a_message(
    db: Db, service: Process, command_line: CommandLine, vector: str
) -> None:
    db.execute("select sidecar.watch('products', source => 'photo', target => 'photo_vector')")
    db.execute("update products set photo_vector = %s where id = 1", [vector])
    outcome = command_line("search", "products", "a hat", "--url", service.url)
    assert (outcome.code, outcome.stderr) == (0, "")
