"""The default model's architecture, with random weights, through the whole pipeline. Minutes, and 8 GB of memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psycopg
import pytest
from PIL import Image

from tests.integration.server.process import Process, sidecar_process
from tests.model.full_size import make_full_size_model
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow_model, pytest.mark.timeout(1800)]

TEXT = "A cup of coffee on a table"


@pytest.fixture
def sidecar(database_url: str, tmp_path: Path) -> Iterator[Process]:
    model = tmp_path / "model"
    make_full_size_model(model)
    with sidecar_process(
        tmp_path,
        ["-c", "from sidecar.cli import main; main()", "serve"],
        DATABASE_URL=database_url,
        VISION_MODEL_ID=f"local-dir:{model}",
        REQUIRE_CUDA="0",
        REQUEST_TIMEOUT_S="600",
    ) as process:
        wait_until(lambda: process.ask("/readyz") == 200, lambda: f"/readyz\n{process.log}", timeout_s=600)
        yield process


def square_picture() -> bytes:
    """A picture of 500x500 pixels: six views at two scales."""
    pixels = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_rows_get_1152_dimensions_of_the_full_size_model(database_url: str, sidecar: Process) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table pictures (id bigint primary key, caption text, photo bytea)")
        connection.execute("select sidecar.watch('pictures', source => 'caption')")
        connection.execute("select sidecar.watch('pictures', source => 'photo')")
        connection.execute("insert into pictures values (1, %s, %s)", [TEXT, square_picture()])
        connection.execute("call sidecar.wait_embedded('pictures', '{\"id\": 1}', timeout_ms => 1200000)")
        row = connection.execute(
            "select vector_dims(caption_embedding), vector_norm(caption_embedding), vector_dims(photo_embedding), "
            "vector_norm(photo_embedding), caption_embedding::text from pictures"
        ).fetchone()
    assert row is not None
    assert (row[0], row[2]) == (1152, 1152)
    assert row[1] == pytest.approx(1, abs=1e-5)
    assert row[3] == pytest.approx(1, abs=1e-5)
    answer = httpx.post(f"{sidecar.url}/embed/text", json={"text": TEXT}, timeout=600).json()
    stored = np.array(row[4].strip("[]").split(","), dtype=np.float32)
    assert np.dot(stored, np.array(answer["embedding"], dtype=np.float32)) == pytest.approx(1, abs=1e-3)
