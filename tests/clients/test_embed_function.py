"""sidecar.embed as a function, within one statement, over dblink."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote, urlsplit

import numpy as np
import psycopg
import pytest
from psycopg import sql

from sidecar.operations.migrations import migrate
from tests.clients.dblink import server_with_dblink
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.search.shop import DIMENSIONS, connect, make_products, searching
from tests.integration.sql.session import Connection, run
from tests.integration.sql_queries.conftest import Session, count, session, until, until_answering
from tests.servers import Server

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with server_with_dblink() as server:
        yield server


@pytest.fixture(scope="module")
def template(server: Server) -> str:
    name = server.create_database()
    migrate(server.database_url(name))
    return name


@pytest.fixture
def url(server: Server, template: str) -> Iterator[str]:
    name = server.create_database(template)
    yield server.database_url(name)
    with connect(server.database_url(name)) as db:
        run(db, "select sidecar.disable_embed()")
    server.drop_database(name)


@pytest.fixture
def db(url: str) -> Iterator[Connection]:
    with connect(url) as connection:
        make_products(connection)
        yield connection


@pytest.fixture
def encoder(db: Connection) -> GatedEncoder:
    return GatedEncoder(dimensions=DIMENSIONS)


@pytest.fixture
async def service(url: str, encoder: GatedEncoder, db: Connection) -> AsyncIterator[None]:
    async with searching(url, encoder):
        await until_answering(db)
        yield


@pytest.fixture
async def client(url: str, service: None, db: Connection) -> AsyncIterator[Session]:
    """A session, once sidecar.embed is enabled."""
    run(db, "call sidecar.enable_embed()")
    async with session(url) as client:
        yield client


async def ask(client: Session, text: str, target: str = "products.e") -> list[float]:
    row = await (await client.execute("select sidecar.embed(%s::text, %s)", (text, target))).fetchone()
    assert row is not None
    return [float(number) for number in row[0].strip("[]").split(",")]


def connections(db: Connection) -> int:
    row = db.execute("select count(*) from pg_stat_activity where usename like 'sidecar_embed%'").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_statement_orders_by_a_text_through_the_index(client: Session, db: Connection) -> None:
    run(db, "create table many (id int primary key, e vector(16))")
    random_vector = "array(select random() from generate_series(1, 16))::vector"
    run(db, f"insert into many select n, {random_vector} from generate_series(1, 2000) n")
    run(db, "create index on many using hnsw (e vector_cosine_ops)")
    run(db, "analyze many")
    for asked in ("sidecar.embed('a green mug', 'products.e')", "(select sidecar.embed('a green mug', 'products.e'))"):
        query = f"select id from many order by e <=> {asked} limit 3"
        plan = "\n".join(row[0] for row in await (await client.execute(f"explain {query}")).fetchall())
        assert "Index Scan using many_e_idx" in plan, plan
        assert len(await (await client.execute(query)).fetchall()) == 3
    assert count(db, "query_vectors") == 1


async def test_the_vector_is_that_of_the_procedure(client: Session, encoder: GatedEncoder) -> None:
    assert np.allclose(await ask(client, "green mug"), encoder.vector_of("green mug"), atol=1e-6)
    nearest = "select title from products order by e <=> sidecar.embed('green mug', 'products.e') limit 1"
    assert await (await client.execute(nearest)).fetchone() == ("green mug",)
    for search in ("search('products', 'green mug', k => 1)", "search_targets('products', 'green mug', '{e}', k => 1)"):
        found = await (await client.execute(f"select key from sidecar.{search}")).fetchone()
        assert found == ({"id": 2},)


@pytest.mark.parametrize("begin", ["repeatable read read only", "serializable", "read committed"])
async def test_it_works_in_any_transaction(client: Session, encoder: GatedEncoder, begin: str) -> None:
    await client.execute(f"begin isolation level {begin}")
    await client.execute("select count(*) from products")  # takes the snapshot
    assert np.allclose(await ask(client, "a teapot"), encoder.vector_of("a teapot"), atol=1e-6)
    await client.execute("commit")


async def test_a_session_keeps_one_connection_and_opens_a_lost_one_again(client: Session, db: Connection) -> None:
    await ask(client, "one")
    await ask(client, "two")
    assert connections(db) == 1
    run(db, "select pg_terminate_backend(pid) from pg_stat_activity where usename like 'sidecar_embed%'")
    await ask(client, "three")
    assert connections(db) == 1


async def test_a_cancelled_statement_does_not_spoil_the_next(client: Session, encoder: GatedEncoder) -> None:
    await ask(client, "one")
    encoder.close()
    asked = asyncio.create_task(ask(client, "two"))
    await encoder.until_held()
    await client.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        await asked
    encoder.open()
    assert np.allclose(await ask(client, "three"), encoder.vector_of("three"), atol=1e-6)


async def test_a_cancelled_statement_ends_at_once(client: Session, encoder: GatedEncoder) -> None:
    encoder.close()
    asked = asyncio.create_task(client.execute("select sidecar.embed('two', 'products.e', 600000)"))
    await encoder.until_held()
    await client.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        await asyncio.wait_for(asked, 20)
    encoder.open()


async def test_the_answer_to_a_cancelled_statement_does_not_spoil_the_next(
    client: Session, encoder: GatedEncoder, db: Connection
) -> None:
    await ask(client, "one")
    encoder.close()
    asked = asyncio.create_task(ask(client, "two"))
    await encoder.until_held()
    await client.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        await asked
    encoder.open()
    idle = "select count(*) from pg_stat_activity where usename like 'sidecar_embed%' and state <> 'idle'"
    await until(lambda: db.execute(idle).fetchone() == (0,))  # it has answered
    assert np.allclose(await ask(client, "three"), encoder.vector_of("three"), atol=1e-6)


async def test_what_the_cache_knows_needs_no_connection(url: str, client: Session, db: Connection) -> None:
    await client.execute("call sidecar.embed('one', target => 'products.e', vector => null)")
    run(db, "select sidecar.disable_embed()")
    async with session(url) as other:
        await ask(other, "one")
        with pytest.raises(psycopg.Error, match="cannot ask within a statement yet") as raised:
            await ask(other, "two")
    assert "call sidecar.enable_embed();" in str(raised.value.diag.message_hint)


async def test_errors_of_the_sidecar_keep_their_code_and_words(client: Session) -> None:
    with pytest.raises(psycopg.Error, match="There is nothing to embed in this text") as raised:
        await ask(client, "   ")
    assert raised.value.sqlstate == "SC002"


async def test_a_reader_may_ask_and_others_may_not(client: Session, url: str, db: Connection, server: Server) -> None:
    for role in ("asker", "outsider"):
        run(db, f"create role {role}")
    try:
        run(db, "select sidecar.grant_reader('asker')")
        await client.execute("set role asker")
        assert len(await ask(client, "a teapot")) == DIMENSIONS
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await client.execute("select * from sidecar_internal.query_vectors")
        for forbidden in (
            "select dblink_connect('mine', 'sidecar_embed')",
            "select * from dblink('sidecar_embed', 'select id from public.products') r(id bigint)",  # open
        ):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject)):
                await client.execute(forbidden)
        await client.execute("reset role")
        await client.execute("set role outsider")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await ask(client, "a teapot")
        await client.execute("reset role")
    finally:
        for role in ("asker", "outsider"):
            run(db, f"drop owned by {role}")
            run(db, f"drop role {role}")


async def test_the_role_of_the_connection_may_do_nothing_else(client: Session, db: Connection) -> None:
    role = db.execute("select sidecar_internal.embed_role()").fetchone()
    assert role is not None
    run(db, f"set role {role[0]}")
    for forbidden in (
        "select * from products",
        "select * from sidecar.status",
        "select * from sidecar_internal.query_vectors",
        "create table public.t (a int)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(db, forbidden)
    run(db, "reset role")


async def test_an_address_that_does_not_answer_is_refused_with_its_error(url: str, db: Connection) -> None:
    refused = r"the server does not reach itself: host=127\.0\.0\.1 port=1: .*refused"
    with pytest.raises(psycopg.Error, match=refused) as raised:
        run(db, "call sidecar.enable_embed(server => 'host=127.0.0.1 port=1')")
    assert "enable_embed(server =>" in str(raised.value.diag.message_hint)
    fault = db.execute("select sidecar_internal.embed_connection_fault()").fetchone()
    assert fault is not None
    assert "refused" in fault[0], "doctor finds it"


def test_an_owner_that_is_no_superuser_enables_it_again_and_removes_it(server: Server, template: str) -> None:
    """As the first user of a managed Postgres: it may create roles, and dblink is there."""
    name = server.create_database()
    with connect(server.database_url(name)) as superuser:
        run(superuser, "create role administrator login createrole password 'secret'")
        run(superuser, "create extension vector; create extension dblink")
        run(superuser, "grant usage on foreign data wrapper dblink_fdw to administrator")
        run(superuser, f'alter database "{name}" owner to administrator')
    address = urlsplit(server.database_url(name))
    url = address._replace(netloc=f"administrator:secret@{address.hostname}:{address.port}").geturl()
    migrate(url)
    with connect(url) as db:
        for _ in range(2):
            run(db, "call sidecar.enable_embed()")
        assert db.execute("select sidecar_internal.embed_connection_fault()").fetchone() == (None,)
        run(db, "select sidecar.disable_embed()")
        assert db.execute("select count(*) from pg_roles where rolname like 'sidecar_embed%'").fetchone() == (0,)
    server.drop_database(name)
    with connect(server.url) as superuser:
        run(superuser, "drop role administrator")


def test_the_name_of_the_database_may_have_spaces_and_quotes(server: Server, template: str) -> None:
    name = """it's "my" shop"""
    with connect(server.url) as superuser:
        superuser.execute(sql.SQL("create database {} template {}").format(*map(sql.Identifier, (name, template))))
    with connect(urlsplit(server.url)._replace(path=f"/{quote(name)}").geturl()) as db:
        run(db, "call sidecar.enable_embed()")
        assert db.execute("select sidecar_internal.embed_connection_fault()").fetchone() == (None,)
        run(db, "select sidecar.disable_embed()")
    with connect(server.url) as superuser:
        superuser.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))


def test_a_copy_of_the_database_does_not_ask_the_original(server: Server, template: str) -> None:
    original = server.create_database(template)
    with connect(server.database_url(original)) as db:
        run(db, "call sidecar.enable_embed()")
    copy = server.create_database(original)
    fault = "select sidecar_internal.embed_connection_fault()"
    with connect(server.database_url(copy)) as db:
        make_products(db)
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="cannot ask within a statement yet"):
            run(db, "select sidecar.embed('green mug', 'products.e')")
        assert db.execute(fault).fetchone() == ("it leads to the database that this one is a copy of",)
        run(db, "call sidecar.enable_embed()")
        assert db.execute(fault).fetchone() == (None,)
    for name in (copy, original):
        with connect(server.database_url(name)) as db:
            run(db, "select sidecar.disable_embed()")
        server.drop_database(name)


async def test_uninstalling_removes_server_and_role(url: str, db: Connection) -> None:
    run(db, "call sidecar.enable_embed()")
    run(db, "select sidecar.uninstall(force => true)")
    assert db.execute("select count(*) from pg_foreign_server").fetchone() == (0,)
    assert db.execute("select count(*) from pg_roles where rolname like 'sidecar_embed%'").fetchone() == (0,)
    migrate(url)
