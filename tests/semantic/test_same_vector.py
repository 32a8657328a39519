"""The same content has the same vector: alone or in a batch, in both precisions, over REST and ingest."""

from __future__ import annotations

from io import BytesIO

import httpx
import numpy as np
import psycopg
from PIL import Image
from pydantic import SecretStr

from sidecar.demo.emoji import Emoji
from tests.integration.http.conftest import Serving, serving
from tests.semantic.demo_model import DemoModel, Vectors, load_demo_encoder
from tests.waiting import wait_until_async

__all__ = ["serving"]

NAME = "A crying cat, and two words more"
START_TIMEOUT_S = 30.0


def test_a_vector_does_not_depend_on_its_batch(
    model: DemoModel, rows: list[Emoji], name_vectors: Vectors, picture_vectors: Vectors
) -> None:
    for index in (0, 63, 64, len(rows) - 1):
        alone = (
            model.embed_texts([rows[index].name])[0],
            model.embed_pictures([rows[index].picture], enable_tta=False)[0],
        )
        assert float(alone[0] @ name_vectors[index]) >= 0.99999
        assert float(alone[1] @ picture_vectors[index]) >= 0.99999


def test_bf16_gives_nearly_the_same_vectors(rows: list[Emoji], name_vectors: Vectors, picture_vectors: Vectors) -> None:
    sample = range(0, len(rows), 40)
    rounded = DemoModel(load_demo_encoder("bf16"))
    texts = rounded.embed_texts([rows[index].name for index in sample])
    pictures = rounded.embed_pictures([rows[index].picture for index in sample], enable_tta=False)
    assert float((texts * name_vectors[list(sample)]).sum(axis=1).min()) >= 0.999
    assert float((pictures * picture_vectors[list(sample)]).sum(axis=1).min()) >= 0.999


async def test_rest_ingest_and_a_direct_call_agree(
    model: DemoModel, rows: list[Emoji], serving: Serving, database_url: str
) -> None:
    photo = _photo(rows[100].picture)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table items (id bigint primary key, name text, photo bytea)")
        connection.execute("select sidecar.watch('items', 'name'), sidecar.watch('items', 'photo')")
        connection.execute("insert into items values (1, %s, %s)", [NAME, photo])
    async with serving(lambda _settings: model.encoder, database_url=SecretStr(database_url)) as client:
        by_rest = await _by_rest(client, photo)
        by_ingest = await _by_ingest(database_url)
    direct = model.embed_texts([NAME])[0], model.embed_pictures([photo], enable_tta=True)[0]
    for other in (by_rest, by_ingest):
        assert float(direct[0] @ other[0]) >= 0.9999
        assert float(direct[1] @ other[1]) >= 0.9999


def _photo(picture: bytes) -> bytes:
    """Wide enough for several tiles, so that all kinds of views occur."""
    canvas = Image.new("RGB", (480, 160), "lightblue")
    with Image.open(BytesIO(picture)) as emoji:
        canvas.paste(emoji, (40, 10))
    file = BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


async def _by_rest(client: httpx.AsyncClient, photo: bytes) -> tuple[Vectors, Vectors]:
    text = await client.post("/embed/text", json={"text": NAME})
    picture = await client.post("/embed/image", files={"file": photo})
    return _vector(text), _vector(picture)


def _vector(answer: httpx.Response) -> Vectors:
    return np.array(answer.json()["embedding"], dtype=np.float32)


async def _by_ingest(database_url: str) -> tuple[Vectors, Vectors]:
    query = "select name_embedding::text, photo_embedding::text from items where photo_embedding is not null"
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:

        async def is_embedded() -> bool:
            return (await (await connection.execute(query)).fetchone() or (None,))[0] is not None

        await wait_until_async(is_embedded, "the row's vectors", START_TIMEOUT_S)
        row = await (await connection.execute(query)).fetchone()
    assert row is not None
    name, photo = (np.array(vector.strip("[]").split(","), dtype=np.float32) for vector in row)
    return name, photo
