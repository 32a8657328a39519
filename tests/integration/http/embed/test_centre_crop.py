"""A model with a centre crop in the running service: requests and rows get open_clip's vectors."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import open_clip
import psycopg
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import SecretStr

from tests.integration.http.conftest import Serving
from tests.model.families import CLIP_MEAN, CLIP_STD, FAMILIES, write_model
from tests.model.variants import load_on_cpu
from tests.unit.pictures.pictures import encode, make_picture
from tests.waiting import wait_until_async

TEXT = "A river at sunset"
SAME = 0.9999

Vector = NDArray[np.float32]


def vector_of(numbers: list[float]) -> Vector:
    return np.array(numbers, dtype=np.float32)


def vectors_of_open_clip(directory: Path, photo: bytes) -> tuple[Vector, Vector]:
    name = f"local-dir:{directory}"
    model, transform = open_clip.create_model_from_pretrained(name)
    with Image.open(BytesIO(photo)) as picture, torch.inference_mode():
        pixels = transform(picture)[None]
        raw = model.eval().encode_text(open_clip.get_tokenizer(name)([TEXT])), model.encode_image(pixels)
    text, image = (torch.nn.functional.normalize(one, dim=-1)[0].numpy() for one in raw)
    return text, image


@pytest.mark.parametrize(
    "preprocess_cfg",
    [{"resize_mode": "shortest"}, {"resize_mode": "longest", "interpolation": "bilinear", "fill_color": 90}],
)
async def test_requests_and_rows_get_the_vectors_of_open_clip(
    serving: Serving, database_url: str, tmp_path: Path, preprocess_cfg: dict[str, object]
) -> None:
    directory = write_model(tmp_path, FAMILIES["clip"], {"mean": CLIP_MEAN, "std": CLIP_STD, **preprocess_cfg})
    photo = encode(make_picture(400, 170), "PNG")
    text, picture = vectors_of_open_clip(directory, photo)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table items (id bigint primary key, name text, photo bytea)")
        for source in ("name", "photo"):
            connection.execute("select sidecar.watch('items', %s::text, dimensions => 48)", [source])
        connection.execute("insert into items values (1, %s, %s)", [TEXT, photo])
    options = {"enable_tta": False, "database_url": SecretStr(database_url)}
    async with serving(lambda _settings: load_on_cpu(directory), **options) as client:
        by_rest = await embed(client, photo)
        by_ingest = await read_row(database_url)
    for one, other in (by_rest, by_ingest):
        assert float(one @ text) >= SAME
        assert float(other @ picture) >= SAME


async def embed(client: httpx.AsyncClient, photo: bytes) -> tuple[Vector, Vector]:
    text = await client.post("/embed/text", json={"text": TEXT})
    image = await client.post("/embed/image", files={"file": photo})
    return vector_of(text.json()["embedding"]), vector_of(image.json()["embedding"])


async def read_row(database_url: str) -> tuple[Vector, Vector]:
    query = "select name_embedding::text, photo_embedding::text from items where id = 1"
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:

        async def read() -> tuple[str | None, str | None]:
            row = await (await connection.execute(query)).fetchone()
            assert row is not None
            return row[0], row[1]

        async def is_embedded() -> bool:
            return None not in await read()

        await wait_until_async(is_embedded, "the row's vectors", 30.0)
        name, photo = (vector_of([float(part) for part in str(text).strip("[]").split(",")]) for text in await read())
    return name, photo
