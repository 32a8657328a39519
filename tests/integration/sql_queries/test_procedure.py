"""call sidecar.embed: query vectors by a procedure, which needs no extension."""

from __future__ import annotations

import asyncio
import io
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from PIL import Image

from sidecar.operations.migrations import migrate
from tests.encoders import TimedEncoder
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.search.shop import DIMENSIONS, connect, make_products, searching
from tests.integration.sql.session import Connection
from tests.integration.sql_queries.conftest import count, embed, session, until, until_answering
from tests.servers import Server

_END_CONNECTIONS = """
    select pg_terminate_backend(l.pid) from pg_locks l join sidecar_internal.query_servers s on l.locktype = 'advisory'
    and hashtextextended('sidecar.queries.' || s.id, 0) = (l.classid::bigint << 32 | l.objid::bigint)
"""


@pytest.mark.usefixtures("service")
async def test_a_text_has_the_vector_of_a_row_with_this_text(database_url: str, encoder: GatedEncoder) -> None:
    async with session(database_url) as client:
        assert np.allclose(await embed(client, "green mug"), encoder.vector_of("green mug"), atol=1e-6)
        nearest = "select title from products order by e <=> %s::vector limit 1"
        vector = str(await embed(client, "green mug"))
        assert await (await client.execute(nearest, (vector,))).fetchone() == ("green mug",)


async def test_a_picture_has_the_vector_of_rest(database_url: str, encoder: GatedEncoder, db: Connection) -> None:
    png = io.BytesIO()
    Image.effect_noise((40, 50), 90).convert("RGB").save(png, "PNG")
    async with searching(database_url, encoder) as rest, session(database_url) as client:
        await until_answering(db)
        call = "call sidecar.embed(%s::bytea, target => 'products.e', vector => null)"
        row = await (await client.execute(call, (png.getvalue(),))).fetchone()
        answer = (await rest.post("/embed/image", files={"file": ("noise.png", png.getvalue())})).json()
    assert row is not None
    assert np.allclose([float(x) for x in row[0].strip("[]").split(",")], answer["embedding"], atol=1e-6)


@pytest.mark.usefixtures("service")
async def test_what_was_asked_before_is_not_embedded_again(database_url: str, encoder: GatedEncoder) -> None:
    async with session(database_url) as first, session(database_url) as second:
        before = await embed(first, "a teapot")
        encoder.close()  # no answer but the cached one
        assert await embed(second, "a teapot") == before
        encoder.open()
    assert encoder.texts["a teapot"] == 1


@pytest.mark.usefixtures("service")
async def test_sessions_that_ask_for_the_same_at_once_share_one_request(
    database_url: str, encoder: GatedEncoder
) -> None:
    async with session(database_url) as first, session(database_url) as second:
        encoder.close()
        asked = [asyncio.create_task(embed(each, "a teapot")) for each in (first, second)]
        await encoder.until_held()
        encoder.open()
        one, other = await asyncio.gather(*asked)
    assert one == other
    assert encoder.texts["a teapot"] == 1


@pytest.mark.usefixtures("service")
async def test_fifty_sessions_get_each_their_own_vector(database_url: str, encoder: GatedEncoder) -> None:
    async def ask(n: int) -> None:
        async with session(database_url) as client:
            for turn in range(3):
                text = f"mug number {n} of {turn}"
                assert np.allclose(await embed(client, text), encoder.vector_of(text), atol=1e-6)

    await asyncio.gather(*(ask(n) for n in range(50)))


async def test_without_a_sidecar_the_error_comes_at_once(database_url: str, encoder: GatedEncoder) -> None:
    async with session(database_url) as client:
        with pytest.raises(psycopg.Error, match="no sidecar that embeds queries with hash-16-32") as raised:
            await asyncio.wait_for(embed(client, "a teapot", timeout_ms=600_000), 10)
    assert raised.value.sqlstate == "SC003"
    assert "Start `sidecar serve` with that model" in str(raised.value.diag.message_hint)


async def test_a_sidecar_with_another_model_is_named(database_url: str, encoder: GatedEncoder, db: Connection) -> None:
    async with searching(database_url, GatedEncoder("other", dimensions=DIMENSIONS)), session(database_url) as client:
        await until_answering(db)
        with pytest.raises(psycopg.Error) as raised:
            await embed(client, "a teapot")
    assert "(those connected run other-16-32)" in str(raised.value.diag.message_hint)


async def test_waiting_sessions_fail_when_the_last_sidecar_ends(
    database_url: str, encoder: GatedEncoder, db: Connection
) -> None:
    async with session(database_url) as client:
        async with searching(database_url, encoder, shutdown_timeout_s=0.5):
            await until_answering(db)
            encoder.close()
            asked = asyncio.create_task(embed(client, "a teapot", timeout_ms=600_000))
            await encoder.until_held()
        with pytest.raises(psycopg.Error) as raised:
            await asyncio.wait_for(asked, 10)
        encoder.open()
    assert raised.value.sqlstate == "SC003"


@pytest.mark.usefixtures("service")
async def test_a_request_in_flight_survives_the_end_of_the_sidecars_connection(
    database_url: str, encoder: GatedEncoder, db: Connection
) -> None:
    async with session(database_url) as client:
        encoder.close()
        asked = asyncio.create_task(embed(client, "a teapot"))
        await encoder.until_held()
        assert db.execute(_END_CONNECTIONS).rowcount == 1
        encoder.open()
        assert np.allclose(await asked, encoder.vector_of("a teapot"), atol=1e-6)


async def test_another_sidecar_takes_over_what_a_dead_one_had_taken(
    database_url: str, encoder: GatedEncoder, db: Connection
) -> None:
    other = GatedEncoder(dimensions=DIMENSIONS)
    async with session(database_url) as client:
        async with searching(database_url, encoder, shutdown_timeout_s=0.5):
            await until_answering(db)
            encoder.close()
            asked = asyncio.create_task(embed(client, "a teapot"))
            await encoder.until_held()
            rescue = searching(database_url, other)
            await rescue.__aenter__()
            await until_answering(db, 2)
        assert np.allclose(await asked, other.vector_of("a teapot"), atol=1e-6)
        await rescue.__aexit__(None, None, None)
        encoder.open()
    assert other.texts["a teapot"] == 1


@pytest.mark.usefixtures("service")
async def test_an_answer_that_takes_too_long_raises_after_timeout_ms(database_url: str, encoder: GatedEncoder) -> None:
    async with session(database_url) as client:
        encoder.close()
        with pytest.raises(psycopg.Error, match=r"no vector within \d+ ms") as raised:
            await embed(client, "a teapot", timeout_ms=100)
        encoder.open()
        assert raised.value.sqlstate == "SC001"
        assert np.allclose(await embed(client, "a teapot"), encoder.vector_of("a teapot"), atol=1e-6)


async def test_a_flood_is_refused_and_leaves_no_rows(database_url: str, encoder: GatedEncoder, db: Connection) -> None:
    slow = TimedEncoder(20, "hash", dimensions=DIMENSIONS)

    async def ask(n: int) -> str | None:
        async with session(database_url) as client:
            try:
                await embed(client, f"mug {n}")
            except psycopg.Error as error:
                return error.sqlstate
        return None

    async with searching(database_url, slow, query_queue_views=64, batch_max_views=8):
        await until_answering(db)
        assert set(await asyncio.gather(*(ask(n) for n in range(150)))) == {None, "53000"}
        assert count(db, "query_vectors", "content is not null") == 0


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_it_works_whatever_the_isolation_of_new_transactions(
    database_url: str, encoder: GatedEncoder, isolation: str
) -> None:
    async with session(database_url) as client:
        await client.execute(f"set default_transaction_isolation = '{isolation}'")
        assert np.allclose(await embed(client, "a teapot"), encoder.vector_of("a teapot"), atol=1e-6)


@pytest.mark.usefixtures("service")
async def test_a_cancelled_call_leaves_no_request_behind(
    database_url: str, encoder: GatedEncoder, db: Connection
) -> None:
    async with session(database_url) as client:
        encoder.close()
        asked = asyncio.create_task(embed(client, "a teapot"))
        await encoder.until_held()
        await client.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await asked
        encoder.open()
        await until(lambda: count(db, "query_vectors", "content is not null") == 0)


@pytest.mark.usefixtures("quick_cleaning")
async def test_the_cache_is_bounded_in_bytes(database_url: str, encoder: GatedEncoder, db: Connection) -> None:
    async with searching(database_url, encoder, sql_query_cache_bytes=1500), session(database_url) as client:
        await until_answering(db)
        for n in range(20):
            await embed(client, f"mug {n}")
        db.execute("update sidecar_internal.query_vectors set used_at = used_at - interval '1 min'")
        await until(lambda: count(db, "query_vectors") <= 5)
        kept = db.execute("select id from sidecar_internal.query_vectors order by id").fetchall()
        assert len(kept) >= 3
        assert min(kept)[0] > 10, "the least recently used go first"


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    ("text", "message"),
    [("", "there is nothing to embed: the content is empty"), ("  ", "There is nothing to embed in this text")],
)
async def test_a_text_without_content_is_refused(database_url: str, text: str, message: str) -> None:
    async with session(database_url) as client:
        with pytest.raises(psycopg.Error, match=message) as raised:
            await embed(client, text)
    assert raised.value.sqlstate == "SC002"


@pytest.mark.usefixtures("service")
async def test_bytes_that_are_no_text_are_refused(database_url: str, encoder: GatedEncoder) -> None:
    async with session(database_url) as client:
        call = "call sidecar_internal.embed_content(%s, 'text', '\\xff', 20000, null)"
        with pytest.raises(psycopg.Error, match="The content is no text in UTF-8") as raised:
            await client.execute(call, (encoder.fingerprint,))
    assert raised.value.sqlstate == "SC002"


@pytest.mark.usefixtures("encoder")
@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("nowhere", "there is no table nowhere", "Write target => 'table.column'"),
        ("products.f", "table public.products has no watch with target 'f'", "Its targets: 'e'"),
        ("pg_class", "table pg_class is not watched", "sidecar.watch"),
    ],
)
async def test_a_target_that_is_not_watched_is_refused(database_url: str, target: str, message: str, hint: str) -> None:
    async with session(database_url) as client:
        with pytest.raises(psycopg.Error, match=message) as raised:
            await client.execute("call sidecar.embed('mug', target => %s, vector => null)", (target,))
    assert hint in str(raised.value.diag.message_hint)


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("target", ["products", "products.e", "public.products", "public.products.e", None])
async def test_a_target_may_be_written_in_every_usual_way(
    database_url: str, encoder: GatedEncoder, target: str | None
) -> None:
    async with session(database_url) as client:
        call = "call sidecar.embed('mug', target => %s, vector => null)"
        row = await (await client.execute(call, (target,))).fetchone()
    assert row is not None
    assert np.allclose([float(x) for x in row[0].strip("[]").split(",")], encoder.vector_of("mug"), atol=1e-6)


async def test_a_reason_that_the_encoding_of_the_database_lacks_stops_no_queries(postgres_server: Server) -> None:
    """As "a data: URL, which is text. Store what it encodes, in SQL: decode(split_part(convert_from(\u2026"."""
    name = f"sidecar_test_{uuid4().hex}"
    with connect(postgres_server.url) as admin:
        admin.execute(f"create database {name} encoding 'LATIN1' locale 'C' template template0".encode())
    try:
        url = postgres_server.database_url(name)
        await asyncio.to_thread(migrate, url)
        with connect(url) as db:
            make_products(db)
            encoder = GatedEncoder(dimensions=DIMENSIONS)
            async with searching(url, encoder), session(url) as client:
                await until_answering(db)
                call = "call sidecar.embed('data:image/png;base64,iVBO'::bytea, target => 'products.e', vector => null)"
                with pytest.raises(psycopg.Error, match="a data: URL, which is text") as raised:
                    await client.execute(call)
                assert raised.value.sqlstate == "SC002"
                assert np.allclose(await embed(client, "mug"), encoder.vector_of("mug"), atol=1e-6)
    finally:
        postgres_server.drop_database(name)


async def test_without_a_target_a_watch_that_has_no_vectors_yet_takes_the_model_of_the_others(
    database_url: str, encoder: GatedEncoder, db: Connection
) -> None:
    async with searching(database_url, encoder), session(database_url) as client:
        await until_answering(db)
        await until(lambda: count(db, "watches", "fingerprint is not null") > 0)
        db.execute("create table empty (id bigint primary key, body text)")
        db.execute(f"select sidecar.watch('empty', source => 'body', dimensions => {DIMENSIONS})".encode())
        row = await (await client.execute("call sidecar.embed('mug', vector => null)")).fetchone()
        assert row is not None
        assert row[0]
        db.execute("update sidecar_internal.watches set model = 'another' where relation = 'empty'::regclass")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="have 2 models"):
            await client.execute("call sidecar.embed('mug', vector => null)")
