"""The default model's architecture with random weights, exported and served. Up to an hour, and 13 GB of memory."""

from __future__ import annotations

import io
import os
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psycopg
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from sidecar.model.device import ComputeDevice
from sidecar.model.loading import load_encoder_on
from tests.e2e.demo_process import sidecar_command
from tests.integration.server.process import sidecar_process
from tests.model.full_size import make_full_size_model
from tests.model.variants import settings_for
from tests.servers import open_directory

pytestmark = [pytest.mark.slow_model, pytest.mark.timeout(7200)]

TEXT = "A cup of coffee on a table"
MAX_EXPORT_GIB = 14  # OpenVINO takes 9 of them for the int8 graphs


@dataclass(frozen=True, slots=True)
class Expected:
    """What PyTorch computes in fp32."""

    fingerprint: str
    text: NDArray[np.float32]
    picture: NDArray[np.float32]


@pytest.fixture(scope="module")
def model() -> Iterator[Path]:
    with open_directory() as directory:
        make_full_size_model(directory / "model")
        yield directory / "model"


@pytest.fixture(scope="module")
def expected(model: Path) -> Expected:
    return expect(model)


def expect(model: Path) -> Expected:
    encoder = load_encoder_on(ComputeDevice(torch.device("cpu"), "fp32"), settings_for(model, ENABLE_TTA="0"))
    pixels = np.asarray(draw_picture())[np.newaxis]
    (text,) = encoder.encode_texts(encoder.prepare_texts([TEXT]))
    return Expected(encoder.fingerprint, text, encoder.encode_views(pixels)[0])


def draw_picture() -> Image.Image:
    """Of the size that the model reads: nothing is resized."""
    pixels = np.random.default_rng(0).integers(0, 256, (384, 384, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def as_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def parse(vector: str) -> NDArray[np.float32]:
    return np.array(vector.strip("[]").split(","), dtype=np.float32)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_export_passes_its_gate_within_its_memory_and_gives_rows_and_queries_the_vectors_of_pytorch(
    model: Path, expected: Expected, database_url: str, precision: str
) -> None:
    export = model.parent / precision
    command = [sidecar_command(), "export", "--out", str(export), "--precision", precision, "--pictures", "10"]
    environment = {**os.environ, "VISION_MODEL_ID": f"local-dir:{model}"}
    exported = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert exported.returncode == 0, exported.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < MAX_EXPORT_GIB * 2**20
    least = 0.9999 if precision == "fp32" else 0.999
    for backend, at_least in (("onnx", least), ("openvino", 0.999)):
        cosines = serve(model, export, backend, expected, database_url)
        assert min(cosines.values()) >= at_least, cosines


def serve(model: Path, export: Path, backend: str, expected: Expected, database_url: str) -> dict[str, float]:
    """Serves the export, embeds a row of both kinds and a query of both kinds. Returns the cosines to PyTorch."""
    table = f"pictures_{backend}"
    picture = as_png(draw_picture())
    with (
        sidecar_process(
            export.parent,
            ["-c", "from sidecar.cli import main; main()", "serve"],
            ENCODER_BACKEND=backend,
            EXPORT_DIR=str(export),
            VISION_MODEL_ID=f"local-dir:{model}",
            DATABASE_URL=database_url,
            REQUIRE_CUDA="0",
            REQUEST_TIMEOUT_S="900",
            ENABLE_TTA="0",
        ) as process,
        psycopg.connect(database_url, autocommit=True) as connection,
    ):
        process.await_ready(1800)
        connection.execute(f"create table {table} (id bigint primary key, caption text, photo bytea)")
        for source in ("caption", "photo"):
            connection.execute("select sidecar.watch(%s, source => %s)", [table, source])
        connection.execute(f"insert into {table} values (1, %s, %s)", [TEXT, picture])
        connection.execute(f"call sidecar.wait_embedded('{table}', '{{\"id\": 1}}', timeout_ms => 1800000)")
        row = connection.execute(f"select caption_embedding::text, photo_embedding::text from {table}").fetchone()
        assert row is not None
        text = httpx.post(f"{process.url}/embed/text", json={"text": TEXT}, timeout=900).json()
        files = {"file": ("photo.png", picture, "image/png")}
        image = httpx.post(f"{process.url}/embed/image", files=files, timeout=900).json()
    assert text["fingerprint"] == image["fingerprint"] == expected.fingerprint
    return {
        "text row": float(parse(row[0]) @ expected.text),
        "picture row": float(parse(row[1]) @ expected.picture),
        "text query": float(np.float32(text["embedding"]) @ expected.text),
        "picture query": float(np.float32(image["embedding"]) @ expected.picture),
    }
