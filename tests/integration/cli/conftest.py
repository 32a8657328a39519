from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

import psycopg
import pytest

from tests.command_line import CommandLine
from tests.integration.server.process import Process, sidecar_process

Db: TypeAlias = psycopg.Connection[tuple[Any, ...]]

PRODUCTS = """
    create table products (id bigint primary key, title text, brand text, photo bytea);
    insert into products (id, title, brand)
        values (1, 'red shoes', 'Acme'), (2, 'blue shoes', 'Acme'), (3, 'a hat', null);
"""


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def db(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Db]:
    """A user's session in the database that DATABASE_URL names, with three products in it."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(PRODUCTS)
        yield connection


@pytest.fixture
def watched(db: Db) -> Db:
    """The products, with a watch on their titles and target `e`."""
    db.execute("select sidecar.watch('products', source => 'title', target => 'e')")
    return db


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A sidecar without a database, with the hash encoder."""
    directory = tmp_path_factory.mktemp("service")
    with sidecar_process(directory, ("-m", "tests.integration.server.program", "hash"), DATABASE_URL="") as process:
        process.await_ready()
        yield process


def parse(line: str) -> Any:
    """The value of a single line of JSON."""
    assert line.count("\n") == 1
    return json.loads(line)


def fail_rows(db: Db, **reasons: int) -> None:
    """Records failures of rows in watch 1, as a sidecar would: reason → number of the row."""
    for reason, key in reasons.items():
        db.execute("insert into sidecar_internal.ledger_1 (k1, gen, content_hash) values (%s, 1, 'failed')", [key])
        db.execute(
            "insert into sidecar_internal.failures (watch_id, key, gen, attempts, reason, message)"
            " values (1, jsonb_build_object('id', %s::bigint), 1, 5, %s, 'It is [broken].')",
            [key, reason],
        )
