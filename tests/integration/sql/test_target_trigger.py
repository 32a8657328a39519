"""A vector written by something other than a sidecar is enqueued, as by an ORM that saves whole rows."""

from __future__ import annotations

import pytest

from tests.integration.sql.queue import take_events
from tests.integration.sql.session import Connection, run, value

PLACES = [("items", None), ("vectors", "vectors")]


@pytest.fixture(params=PLACES, ids=["in-row", "companion"])
def place(request: pytest.FixtureRequest, db: Connection) -> tuple[str, int]:
    """The table with the vectors of `items`, and the watch id. The only row has a vector."""
    home, companion = request.param
    run(db, "create table items (id int primary key, title text)")
    watch_id = value(
        db,
        "select sidecar.watch('items', source => 'title', target => 'e', dimensions => 3, companion => %s)",
        companion,
    )
    run(db, "set local sidecar.writer = 'on'")
    run(db, "insert into items values (1, 'a')")
    run(db, "update items set e = '[1,2,3]'" if companion is None else "insert into vectors values (1, '[1,2,3]')")
    run(db, "set local sidecar.writer = ''")
    take_events(db, watch_id)
    return home, watch_id


@pytest.mark.parametrize("vector", ["[3,2,1]", None])
def test_an_overwritten_vector_is_enqueued_with_force(
    db: Connection, place: tuple[str, int], vector: str | None
) -> None:
    home, watch_id = place
    if vector is None and home == "vectors":
        run(db, "alter table vectors alter e drop not null")
    run(db, f"update {home} set e = %s", vector)
    assert take_events(db, watch_id, "k1, force") == [(1, True)]


def test_writing_the_same_vector_again_enqueues_nothing(db: Connection, place: tuple[str, int]) -> None:
    home, watch_id = place
    run(db, f"update {home} set id = id, e = '[1,2,3]'")
    assert take_events(db, watch_id) == []


def test_vectors_written_by_the_sidecar_enqueue_nothing(db: Connection, place: tuple[str, int]) -> None:
    home, watch_id = place
    run(db, "set local sidecar.writer = 'on'")
    run(db, f"update {home} set e = '[3,2,1]'")
    assert take_events(db, watch_id) == []


def test_a_changed_source_is_enqueued_even_if_the_session_sets_sidecar_writer(
    db: Connection, place: tuple[str, int]
) -> None:
    _, watch_id = place
    run(db, "set local sidecar.writer = 'on'")
    run(db, "update items set title = 'new'")
    assert take_events(db, watch_id, "k1, force") == [(1, False)]
