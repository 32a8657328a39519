"""PREPARE TRANSACTION fails after a NOTIFY, so triggers send none where it may be used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.migrations import migrate
from tests.integration.sql.session import Connection, another_session, run, value
from tests.servers import open_directory


@pytest.fixture
def prepared(postgres_version: str) -> Iterator[Connection]:
    """A session on a server restarted with prepared transactions enabled, while a sidecar sleeps."""
    settings = {"fsync": "off", "max_prepared_transactions": "5"}
    with open_directory() as directory:
        with EmbeddedPostgres(directory / "data", postgres_version, settings={"fsync": "off"}) as server:
            migrate(server.url)
            with another_session(server.url) as session:
                run(session, "create table items (id int primary key, title text)")
                run(
                    session, "select sidecar.watch('items', source => 'title', companion => 'vectors', dimensions => 3)"
                )
        with (
            EmbeddedPostgres(directory / "data", postgres_version, settings=settings) as server,
            another_session(server.url) as session,
        ):
            run(session, "select setval('sidecar_internal.asleep_1', 9007199254740992)")
            yield session


def test_a_transaction_with_any_kind_of_write_can_be_prepared(prepared: Connection) -> None:
    run(prepared, "begin")
    run(prepared, "insert into items values (1, 'a'), (2, 'b')")
    run(prepared, "update items set title = 'c', id = id + 10")
    run(prepared, "insert into vectors values (11, '[1,2,3]')")
    run(prepared, "update vectors set title_embedding = '[3,2,1]'")
    run(prepared, "delete from vectors")
    run(prepared, "delete from items where id = 11")
    run(prepared, "truncate items")
    run(prepared, "prepare transaction 'ours'")
    run(prepared, "commit prepared 'ours'")
    assert value(prepared, "select count(*) from sidecar_internal.events_1") == 10
