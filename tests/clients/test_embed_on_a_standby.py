"""sidecar.embed on a read replica, which asks the sidecars of the primary over dblink."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest

from sidecar.operations.migrations import migrate
from tests.clients.dblink import install_dblink
from tests.integration.connect.standby import Pair, primary_and_standby
from tests.integration.search.shop import connect, make_encoder, make_products, searching
from tests.integration.sql.session import Connection, run
from tests.integration.sql_queries.conftest import Session, count, session, until_answering
from tests.servers import open_directory
from tests.waiting import wait_until_async

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with open_directory() as directory:
        settings = install_dblink(directory)
        with primary_and_standby(directory, "18", settings) as pair:
            migrate(pair.primary.url)
            with connect(pair.primary.url) as db:
                make_products(db)
            yield pair


@pytest.fixture
def primary(pair: Pair) -> Iterator[Connection]:
    with connect(pair.primary.url) as db:
        yield db


@pytest.fixture
async def service(pair: Pair, primary: Connection) -> AsyncIterator[None]:
    async with searching(pair.primary.url, make_encoder()):
        await until_answering(primary)
        yield


@pytest.fixture
async def reader(pair: Pair, service: None) -> AsyncIterator[Session]:
    """A session on the standby."""
    async with session(pair.standby.url) as reader:
        yield reader


async def until_replayed(primary: Connection, reader: Session) -> None:
    row = primary.execute("select pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None

    async def is_replayed() -> bool:
        answer = await (await reader.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", row)).fetchone()
        return answer == (True,)

    await wait_until_async(is_replayed, "the standby to have caught up")


async def test_a_statement_on_a_standby_asks_the_sidecars_of_the_primary(
    pair: Pair, primary: Connection, reader: Session
) -> None:
    address = urlsplit(pair.primary.url)
    run(primary, f"call sidecar.enable_embed(server => 'host={address.hostname} port={address.port}')")
    await until_replayed(primary, reader)
    asked = "select sidecar.embed('a teapot', 'products.e')::text"
    answer = await (await reader.execute(asked)).fetchone()
    assert answer is not None
    vector = [float(number) for number in answer[0].strip("[]").split(",")]
    assert np.allclose(vector, make_encoder().vector_of("a teapot"), atol=1e-6)
    assert count(primary, "query_vectors") == 1
    nearest = "select title from products order by e <=> sidecar.embed('green mug', 'products.e') limit 1"
    assert await (await reader.execute(nearest)).fetchone() == ("green mug",)
    found = await (await reader.execute("select key from sidecar.search('products', 'green mug', k => 1)")).fetchone()
    assert found == ({"id": 2},)


async def test_an_address_that_leads_from_the_standby_to_itself_is_refused_with_what_to_do(
    pair: Pair, primary: Connection, reader: Session
) -> None:
    run(primary, "call sidecar.enable_embed()")
    own = urlsplit(pair.standby.url)
    options = f"set host '{own.hostname}', set port '{own.port}'"
    run(primary, f"alter server sidecar_embed options ({options})")
    await until_replayed(primary, reader)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="this server is a read replica") as raised:
        await reader.execute("select sidecar.embed('another teapot', 'products.e')")
    assert "enable_embed(server => 'host=<the primary> port=5432')" in str(raised.value.diag.message_hint)


async def test_the_procedure_on_a_standby_says_where_to_call_it(reader: Session) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="this server is a read replica") as raised:
        await reader.execute("call sidecar.embed('a teapot', target => 'products.e', vector => null)")
    assert str(raised.value.diag.message_hint).startswith("Call it on the primary.")
