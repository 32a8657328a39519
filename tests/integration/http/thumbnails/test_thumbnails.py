"""`GET /thumbnail`: what it shows, to whom, and how often it is made."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import re
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from PIL import Image
from pydantic import SecretStr

from tests.integration.http.conftest import Serving
from tests.integration.http.errors import assert_error
from tests.integration.http.pictures import picture, pixel_bomb
from tests.integration.http.thumbnails.photos import JPEG, make_photos, opened
from tests.integration.search.shop import claim_space, connect, make_encoder, make_products, search, searching
from tests.integration.sql.queue import fail
from tests.integration.sql.session import Connection, run, value
from tests.waiting import wait_until_async

BOUND, TENANT, ADMIN, SEARCH = (f"{name}-key-0123456789" for name in ("bound", "tenant", "admin", "search"))
KEYS = f"""
[[keys]]
key = "{BOUND}"
scopes = ["search"]
tables = ["public.others"]

[[keys]]
key = "{TENANT}"
scopes = ["search", "admin"]
filter = {{ tenant = 7 }}

[[keys]]
key = "{ADMIN}"
scopes = ["admin"]

[[keys]]
key = "{SEARCH}"
scopes = ["search"]
"""


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
async def client(database_url: str, db: Connection) -> AsyncIterator[httpx.AsyncClient]:
    async with searching(database_url, make_photos(db), max_image_bytes=20_000, max_image_pixels=1_000_000) as client:
        yield client


async def get(client: httpx.AsyncClient, key: object = 1, path: str = "/thumbnail", **changes: Any) -> httpx.Response:
    secret = changes.pop("secret", None)
    headers = changes.pop("headers", {}) | ({"Authorization": f"Bearer {secret}"} if secret else {})
    query = {"table": "photos", "key": json.dumps(key), **changes}
    return await client.get(path, params=query, headers=headers)


async def test_the_picture_of_a_row_is_made_small_and_keeps_its_shape(client: httpx.AsyncClient) -> None:
    assert (await get(client, 1)).content == (await get(client, 1, size="192")).content
    cases: list[tuple[object, str, tuple[int, int]]] = [
        (1, "192", (192, 96)),
        (1, "64", (64, 32)),
        ({"id": 2}, "512", (40, 30)),
        ("2", "16", (16, 12)),
    ]
    for key, size, expected in cases:
        answer = await get(client, key, size=size)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        small = opened(answer.content)
        assert small.size == expected
        wanted = (255, 165, 0) if key == 1 else (0, 0, 255)
        pixel = small.convert("RGB").getpixel((5, 5))
        assert isinstance(pixel, tuple)
        assert max(abs(a - b) for a, b in zip(pixel, wanted, strict=True)) < 12


async def test_an_etag_saves_the_picture_until_the_row_changes(client: httpx.AsyncClient, db: Connection) -> None:
    first = await get(client)
    etag = first.headers["etag"]
    for sent in (etag, f'"other", W/{etag}'):
        same = await get(client, headers={"If-None-Match": sent})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert (await get(client, size=64)).headers["etag"] != etag
    assert (await get(client, headers={"If-None-Match": '"other"'})).status_code == 200
    same_length = picture("green").ljust(len(JPEG), b"\0")
    db.execute("update photos set photo = %s where id = 1", (same_length,))
    changed = await get(client, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag
    assert opened(changed.content).size == (40, 30)
    head = await client.head("/thumbnail", params={"table": "photos", "key": "1"})
    assert (head.status_code, head.headers["etag"], head.content) == (200, changed.headers["etag"], b"")


@pytest.mark.parametrize("rewrite", ["cluster photos using photos_pkey", "vacuum full photos"])
async def test_a_row_that_is_moved_to_the_place_of_another_one_keeps_its_picture(
    database_url: str, db: Connection, rewrite: str
) -> None:
    run(db, "create table photos (id bigint primary key, photo bytea)")
    red, blue = (picture(colour).ljust(2000, b"\0") for colour in ("red", "blue"))
    db.execute("insert into photos values (2, %s), (1, %s)", (red, blue))  # one transaction, and equally long
    run(db, "select sidecar.watch('photos', 'photo', target => 'e', dimensions => 16, expose => array['photo'])")
    async with searching(database_url, make_encoder()) as client:
        before = [(await get(client, key)).content for key in (1, 2)]
        if rewrite.startswith("vacuum"):
            run(db, "delete from photos where id = 2")
        run(db, rewrite)
        assert (await get(client, 1)).content == before[0]


async def test_another_source_shows_another_picture(database_url: str, db: Connection) -> None:
    run(db, "create table photos (id bigint primary key, front bytea, back bytea)")
    front, back = (picture(colour).ljust(2000, b"\0") for colour in ("red", "blue"))
    db.execute("insert into photos values (1, %s, %s)", (front, back))
    watch = """select sidecar.watch('photos', %s::text, target => 'e', dimensions => 16, companion => 'vectors',
                                    expose => array[%s], replace => true)"""
    run(db, watch, "front", "front")
    async with searching(database_url, make_encoder()) as client:
        first = await get(client)
        run(db, watch, "back", "back")
        second = await get(client, headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert second.content != first.content


async def test_a_thumbnail_is_made_once_for_many_requests(client: httpx.AsyncClient, db: Connection) -> None:
    answers = await asyncio.gather(*(get(client) for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    page = (await client.get("/metrics")).text
    read = re.search(r'operation_duration_seconds_count{operation="thumbnail"} (\d)', page)
    assert read is not None
    assert int(read[1]) <= 2  # as many as are made at once


async def test_what_is_no_picture_leaves_its_reason_in_memory_but_not_its_bytes(
    database_url: str, db: Connection
) -> None:
    run(db, "create table photos (id bigint primary key, photo bytea)")
    run(db, "insert into photos select i, convert_to(repeat('x', 1000000), 'utf8') from generate_series(0, 20) i")
    run(db, "select sidecar.watch('photos', 'photo', target => 'e', dimensions => 16, expose => array['photo'])")
    async with searching(database_url, make_encoder()) as client:
        assert (await get(client, 0)).status_code == 422
        tracemalloc.start()
        try:
            for key in range(1, 21):
                assert (await get(client, key)).status_code == 422
            gc.collect()
            held_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert held_bytes < 5_000_000


async def test_rows_without_a_picture_and_what_is_none(client: httpx.AsyncClient, db: Connection) -> None:
    assert_error(await get(client, 99), 404, "unknown_row", '`key`: public.photos has no row {"id":99}.', "key")
    assert_error(await get(client, 4), 404, "no_picture", 'The row {"id":4} of public.photos', "key")
    for _ in range(2):  # the second from the cache
        assert_error(await get(client, 3), 422, "not_a_picture", "The 18 bytes are not a picture")
    insert = "insert into photos values (%s, '', 7, %s)"
    db.execute(insert, (5, picture("red", (300, 300), "BMP")))
    assert_error(await get(client, 5), 413, "too_many_bytes", "The picture has 270,054 bytes; at most 20,000")
    db.execute(insert, (6, pixel_bomb(30_000, 30_000)))
    assert_error(await get(client, 6), 422, "too_many_pixels", "The picture has 30000 x 30000")
    db.execute(insert, (7, JPEG[:400]))
    assert_error(await get(client, 7), 422, "truncated_picture", "The JPEG file of 400 bytes")
    db.execute(insert, (8, b"%PDF-1.7\n"))
    assert (await get(client, 8)).status_code in {415, 422}
    assert (await get(client)).status_code == 200


async def test_metadata_and_comments_of_a_file_are_left_behind(client: httpx.AsyncClient, db: Connection) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "taken at home"
    file = io.BytesIO()
    Image.new("RGB", (60, 20), "red").save(file, "JPEG", exif=exif, comment=b"secret comment")
    db.execute("update photos set photo = %s where id = 1", (file.getvalue(),))
    answer = await get(client)
    assert opened(answer.content).size == (20, 60)  # upright
    assert b"secret" not in answer.content
    assert b"home" not in answer.content


async def test_a_watch_has_to_expose_its_pictures_and_to_have_some(database_url: str, db: Connection) -> None:
    make_products(db)
    encoder = make_photos(db, "array['title']")
    async with searching(database_url, encoder) as client:
        advice = "public.photos.e does not expose its pictures: sidecar.watch(…, expose => array[…, 'photo']"
        assert_error(await get(client), 403, "column_not_exposed", advice, "table")
        assert_error(
            await get(client, table="products"), 422, "not_pictures", "public.products.e embeds texts", "table"
        )
        assert_error(await get(client, table="nope"), 404, "unknown_watch", "No table 'nope' is watched", "table")
        listed = (await client.get("/watches")).json()["watches"]
        assert [watch["has_thumbnails"] for watch in listed] == [False, False]
        options = "dimensions => 16, expose => array['photo'], replace => true"
        run(db, f"select sidecar.watch('photos', 'photo', target => 'e', {options})")
        assert (await get(client)).status_code == 200
        assert (await client.get("/watches")).json()["watches"][1]["has_thumbnails"]


async def test_a_search_shows_an_exposed_picture_nowhere(client: httpx.AsyncClient, db: Connection) -> None:
    vectors = "update photos set e = array_fill(0.25, array[16])::vector"
    run(db, f"set sidecar.writer = 'on'; {vectors}; reset sidecar.writer")
    claim_space(db, make_encoder())
    found = await search(client, table="photos", text="wide")
    assert [result["columns"].keys() for result in found["results"]] == [{"title", "tenant"}] * 4
    assert found["warnings"] == []
    for body in ({"columns": ["photo"]}, {"filter": {"photo": "\\x00"}}):
        refused = await client.post("/search", json={"table": "photos", "text": "a", **body})
        assert refused.status_code == 403
        assert "which GET /thumbnail shows" in refused.json()["error"]["message"]
    rows = run(db, "select shown::text from sidecar.search_page('photos', array_fill(0.25::real, array[16]))")
    assert all("photo" not in shown for (shown,) in rows)
    assert len(rows) == 4


HOSTILE: list[tuple[dict[str, str | list[str]], int, str, str]] = [
    ({"key": "1", "table": "photos", "size": "15"}, 422, "out_of_range", "size"),
    ({"key": "1", "table": "photos", "size": "513"}, 422, "out_of_range", "size"),
    ({"key": "1", "table": "photos", "size": "9" * 40}, 422, "wrong_type", "size"),
    ({"key": "1", "table": "photos", "size": "²"}, 422, "wrong_type", "size"),
    ({"key": "1", "table": "photos", "width": "64"}, 422, "unknown_field", "width"),
    ({"key": "1", "table": "photos", "key[]": "64"}, 422, "unknown_field", "key[]"),
    ({"key": ["1", "2"], "table": "photos"}, 422, "repeated_field", "key"),
    ({"key": "1"}, 422, "missing_field", "table"),
    ({"table": "photos"}, 422, "missing_field", "key"),
    ({"key": "", "table": "photos"}, 422, "too_short", "key"),
    ({"key": "1", "table": "p" * 1001}, 422, "too_long", "table"),
    ({"key": "1", "table": "photos\0"}, 404, "unknown_watch", "table"),
    ({"key": "1", "table": "photos", "target": "e\0"}, 404, "unknown_watch", "target"),
    ({"key": "1", "table": "photos; drop table photos"}, 404, "unknown_watch", "table"),
    ({"key": "<script>", "table": "photos"}, 422, "wrong_key", "key"),
    ({"key": "null", "table": "photos"}, 422, "wrong_key", "key"),
    ({"key": "[1]", "table": "photos"}, 422, "wrong_key", "key"),
    ({"key": '{"id": [1]}', "table": "photos"}, 422, "wrong_key", "key"),
    ({"key": '{"id": 1, "x": 2}', "table": "photos"}, 422, "wrong_key", "key"),
    ({"key": '"\\u0000"', "table": "photos"}, 422, "wrong_key", "key"),
    ({"key": '"1 or 1=1"', "table": "photos"}, 422, "wrong_key", "key"),
    ({"key": "1" * 400, "table": "photos"}, 422, "wrong_key", "key"),
    ({"key": f'"{"x" * 4000}"', "table": "photos"}, 422, "wrong_key", "key"),
    ({"key": f'"{"x" * 5000}"', "table": "photos"}, 422, "too_long", "key"),
    ({"key": "[" * 5000, "table": "photos"}, 422, "wrong_key", "key"),
]


async def test_hostile_queries_are_refused_with_the_field_that_is_wrong(client: httpx.AsyncClient) -> None:
    for query, status, code, param in HOSTILE:
        answer = await client.get("/thumbnail", params=query)
        assert answer.status_code == status, (query, answer.text)
        assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, param), query
    invalid = await client.get("/thumbnail?table=photos&key=%22%ff%fe%22")
    assert_error(invalid, 422, "wrong_key", "`key`: invalid input syntax for type bigint", "key")


async def test_keys_see_the_rows_that_are_theirs(database_url: str, db: Connection, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(KEYS)
    async with searching(database_url, make_photos(db), api_keys_file=file) as client:
        assert (await get(client, secret=SEARCH)).status_code == 200
        assert (await get(client, 1, secret=TENANT)).status_code == 200
        hidden = await get(client, 2, secret=TENANT)
        assert_error(hidden, 404, "unknown_row", '`key`: public.photos has no row {"id":2}.', "key")
        etag = (await get(client, 2, secret=SEARCH)).headers["etag"]
        guessed = await get(client, 2, secret=TENANT, headers={"If-None-Match": etag})
        assert guessed.status_code == 404
        assert_error(await get(client, secret=BOUND), 403, "forbidden_table", "The key opens no table of this name")
        assert_error(await get(client, secret=ADMIN), 403, "forbidden_scope", "The key lacks the scope `search`")
        assert_error(await get(client), 401, "missing_key", "Send a key")
        assert_error(
            await get(client, path="/failures/thumbnail", secret=SEARCH), 403, "forbidden_scope", "The key lacks"
        )


async def test_operators_see_the_pictures_of_failed_rows_only(database_url: str, db: Connection) -> None:
    encoder = make_photos(db, "array['title']")
    db.execute("insert into photos values (5, 'cut', 7, %s)", (JPEG[:400],))
    async with searching(database_url, encoder, ingest=True) as client:

        async def has_failed() -> bool:
            return run(db, "select key->>'id' from sidecar.failures order by 1") == [("3",), ("5",)]

        await wait_until_async(has_failed, "two failures")
        assert_error(
            await get(client, 5, "/failures/thumbnail"), 422, "truncated_picture", "The JPEG file of 400 bytes"
        )
        missing = await get(client, 1, "/failures/thumbnail")
        assert_error(missing, 404, "unknown_row", '`key`: public.photos has no failed row {"id":1}.', "key")
        db.execute("update sidecar_internal.failures set key = '{\"id\": 1}' where key = '{\"id\": 5}'")
        assert (await get(client, 1, "/failures/thumbnail")).status_code == 200


async def test_without_a_database_while_it_is_away_and_before_the_model_is_there(serving: Serving) -> None:
    nowhere = SecretStr("postgresql://nobody:x@127.0.0.1:1/nothing")
    async with serving() as client:
        assert_error(await get(client), 404, "no_database", "There are no pictures")
    async with serving(database_url=nowhere, ingest=False) as client:
        assert_error(await get(client), 503, "database_unavailable", "The service does not reach its database.")


async def test_a_cast_that_the_tables_owner_made_is_never_called(database_url: str, db: Connection) -> None:
    """It would run with the rights of the service, or of the role that reads."""
    encoder = make_photos(db)
    fail(db, value(db, "select id from sidecar_internal.watches"), 1, "not_a_picture", "")
    run(
        db,
        """
        create type pair as (n int);
        create function bytea_of(pair) returns bytea language plpgsql as
            $$ begin raise 'called by %', current_user; end $$;
        create cast (pair as bytea) with function bytea_of(pair) as implicit;
        alter table photos drop column photo cascade;
        alter table photos add column photo pair default row(1)
        """,
    )
    async with searching(database_url, encoder) as client:
        assert_error(await get(client, path="/failures/thumbnail"), 404, "unknown_row", "", "key")
        assert_error(await get(client), 403, "column_not_exposed", "", "table")
    call = "select from sidecar_internal.picture_of('photos', 'e', '{\"id\": 1}', '{}', false, 10)"
    assert run(db, call) == []
    with pytest.raises(psycopg.errors.RaiseException, match="called"):
        run(db, "select photo::bytea from photos")  # control
