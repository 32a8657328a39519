"""Pages of a search: no row twice, ties in the order of keys, through the index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from tests.integration.search.shop import connect
from tests.integration.sql.session import Connection, refused, run, value
from tests.servers import Server

DIMENSIONS = 16
ROWS = 3000
PAGE = "select key ->> 'id', key ->> 'part', distance, place from sidecar.search_page('items', %s::real[], k => %s, {})"
ORIGIN = "{" + ",".join(["1"] + ["0"] * (DIMENSIONS - 1)) + "}"


@pytest.fixture(scope="module")
def points() -> NDArray[np.float32]:
    """Of unit length, in clusters; every third one is a copy of the one before."""
    random = np.random.default_rng(3)
    centres = random.normal(size=(30, DIMENSIONS))
    found = centres[random.integers(0, 30, ROWS)] + 0.4 * random.normal(size=(ROWS, DIMENSIONS))
    found[2::3] = found[1::3]
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def db(postgres_server: Server, migrated_template: str, points: NDArray[np.float32]) -> Iterator[Connection]:
    """`items`, whose key is a text and a number, indexed as by the sidecar."""
    with postgres_server.lend_database(migrated_template) as url, connect(url) as connection:
        run(connection, "create table items (id text, part int, title text, shelf int, primary key (id, part))")
        watch = f"select sidecar.watch('items', 'title', 'e', dimensions => {DIMENSIONS}, expose => array['shelf'])"
        run(connection, watch)
        run(connection, "set sidecar.writer = 'on'; set session_replication_role = replica")
        with connection.cursor().copy("copy items (id, part, title, shelf, e) from stdin") as copy:
            for row, point in enumerate(points):
                copy.write_row((f"Key {row % 7}", row, "x", row % 5, "[" + ",".join(map(str, point.tolist())) + "]"))
        run(connection, f"create index on items using hnsw ((e::halfvec({DIMENSIONS})) halfvec_cosine_ops); analyze")
        run(connection, "reset session_replication_role; set random_page_cost = 1.1")
        yield connection


def pages(db: Connection, size: int, count: int, arguments: str = "filter => '{}'") -> list[list[tuple[Any, ...]]]:
    """`count` pages, each after the place of the last one of the page before."""
    found: list[list[tuple[Any, ...]]] = []
    place = None
    for _ in range(count):
        rows = run(db, PAGE.format(arguments + ", after => %s"), ORIGIN, size, None if place is None else Jsonb(place))
        found.append(rows)
        if len(rows) < size:
            break
        place = max((row[3] for row in rows), key=lambda each: each["n"])
    return found


def exact(db: Connection, condition: str = "true") -> list[tuple[str, str]]:
    """All keys in the order of the index's numbers, and of keys where these are equal."""
    order = f"e::halfvec({DIMENSIONS}) <=> %s::real[]::halfvec({DIMENSIONS}), id, part"
    with db.transaction(force_rollback=True):
        run(db, "set local enable_indexscan = off")
        return [
            (i, str(p)) for i, p in run(db, f"select id, part from items where {condition} order by {order}", ORIGIN)
        ]


def test_pages_of_an_exact_search_are_a_partition_of_it(db: Connection) -> None:
    """Of all sizes, across many ties: the order of the whole, with nothing missing and nothing twice."""
    with db.transaction(force_rollback=True):
        run(db, "set local enable_indexscan = off")
        for size in (1, 7, 50):
            for number, page in enumerate(found := pages(db, size, 20)):
                wanted = exact(db)[number * size : (number + 1) * size]
                assert {(row[0], row[1]) for row in page} == set(wanted), (size, number)
                assert [row[2] for row in page] == sorted(row[2] for row in page)
            assert [place["n"] for page in found for *_, place in sorted(page, key=lambda row: row[3]["n"])] == list(
                range(1, 20 * size + 1)
            )


def test_pages_through_the_index_repeat_no_row_and_miss_few(db: Connection) -> None:
    for arguments, condition in (("filter => '{}'", "true"), ("filter => '{\"shelf\": 3}'", "shelf = 3")):
        found = [(row[0], row[1]) for page in pages(db, 10, 20, arguments) for row in page]
        assert len(set(found)) == len(found) == 200
        missed = set(exact(db, condition)[:200]) - set(found)
        assert len(missed) <= 20, (arguments, len(missed))


def test_a_deep_page_uses_the_index(db: Connection) -> None:
    query = "select sidecar_internal.search_page_statement(w, '{}', '{}', '{}', true) from sidecar_internal.watches w"
    statement = value(db, query).replace("$1", f"'{ORIGIN}'::real[]").replace("$2", "10").replace("$3", "0")
    key = json.dumps({"k1": "Key 1", "k2": 7})
    statement = statement.replace("$4", "100").replace("$5", "0.1::float8").replace("$6", f"'{key}'::jsonb")
    plan = "\n".join(line for (line,) in run(db, "explain " + statement))
    assert "Index Scan using items_e_idx" in plan, plan


def test_skipped_rows_and_those_before_a_place_are_the_same(db: Connection) -> None:
    with db.transaction(force_rollback=True):
        run(db, "set local enable_indexscan = off")  # which index scan stops where is another question
        skipped = run(db, PAGE.format("skip => 30"), ORIGIN, 10)
        assert [row[:3] for row in skipped] == [row[:3] for row in pages(db, 10, 4)[3]]


def test_a_row_that_was_deleted_is_still_a_place(db: Connection) -> None:
    with db.transaction(force_rollback=True):
        run(db, "set local enable_indexscan = off")
        first, second = pages(db, 5, 2)
        last = max(first, key=lambda row: row[3]["n"])
        run(db, "delete from items where id = %s and part = %s", last[0], int(last[1]))
        again = run(db, PAGE.format("after => %s"), ORIGIN, 5, Jsonb(last[3]))
    assert [row[:3] for row in again] == [row[:3] for row in second]


def test_a_place_keeps_the_digits_of_numbers_that_a_driver_reads_as_floats(db: Connection) -> None:
    with db.transaction(force_rollback=True):
        run(db, "create table large (id numeric primary key, title text)")
        run(db, f"select sidecar.watch('large', 'title', 'e', dimensions => {DIMENSIONS})")
        keys = [f"1234567890123456789{digit}.5" for digit in range(7)]
        run(db, "set local sidecar.writer = 'on'")
        for key in keys:
            run(db, "insert into large values (%s::numeric, 'x', %s::real[]::vector)", key, ORIGIN)
        page = PAGE.replace("'items'", "'large'")
        found: list[str] = []
        place = None
        while rows := run(db, page.format("after => %s"), ORIGIN, 2, None if place is None else Jsonb(place)):
            found += [row[0] for row in rows]
            place = rows[-1][3]
    assert found == keys


def test_what_is_no_place_is_refused(db: Connection) -> None:
    for after in ({}, {"distance": 0.1}, {"distance": 0.1, "key": {"id": "a"}}, {"distance": "x", "key": {}}, [1], 7):
        with refused(db, "22023", "which is not the place of a row", "greatest n"):
            run(db, PAGE.format("after => %s"), ORIGIN, 5, Jsonb(after))
    with refused(db, "22023", "skip is -1", "10"):
        run(db, PAGE.format("skip => -1"), ORIGIN, 5)
    with refused(db, "54000", "the page ends at row 100005", "narrows"):
        run(db, PAGE.format("skip => 100000"), ORIGIN, 5)
