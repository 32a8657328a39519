"""The demo's model, exported by the command and served with ingest by onnxruntime."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
import torch
from numpy.typing import NDArray

from sidecar.config import Settings
from sidecar.model.device import ComputeDevice
from sidecar.model.loading import load_encoder_on
from tests.e2e.demo_process import demo_process, sidecar_command
from tests.servers import open_directory

QUERIES = ("sad cat", "pot of tea", "rain", "fruit")
NEAREST = "select array_agg(name) from (select name from emoji order by picture_embedding <=> %s::vector limit 5) found"


@pytest.fixture
def directory() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory


def as_array(vectors: list[str]) -> NDArray[np.float32]:
    return np.array([np.fromstring(vector.strip("[]"), np.float32, sep=",") for vector in vectors])


def nearest(db: psycopg.Connection[tuple[Any, ...]], vector: list[float]) -> list[str]:
    row = db.execute(NEAREST, [str(vector)]).fetchone()
    assert row is not None
    names: list[str] = row[0]
    return names


def test_rows_and_queries_of_an_exported_model_get_the_vectors_of_pytorch(directory: Path) -> None:
    export = directory / "export"
    exported = subprocess.run(
        [sidecar_command(), "export", "--out", str(export), "--pictures", "16", "--json"],
        env={**os.environ, "VISION_MODEL_ID": "demo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert exported.returncode == 0, exported.stderr
    printed = json.loads(exported.stdout)
    assert (printed["directory"], printed["format"]) == (str(export), "onnx")
    assert {(each["backend"], each["overlap"] >= 0.95) for each in printed["parity"]} == {
        ("onnx", True),
        ("openvino", True),
    }

    settings = Settings(vision_model_id="demo", enable_multi_scale=False)
    encoder = load_encoder_on(ComputeDevice(torch.device("cpu"), "fp32"), settings)
    variables = {"ENCODER_BACKEND": "onnx", "EXPORT_DIR": str(export)}
    with demo_process(directory / "data", "--postgres", "18", **variables) as demo:
        demo.await_ready()
        with psycopg.connect(demo.database_url) as db:
            rows = db.execute("select name, name_embedding::text from emoji order by id limit 20").fetchall()
            embed = f"{demo.service_url}/embed/text"
            answers = [httpx.post(embed, json={"text": query}, timeout=30).json() for query in QUERIES]
            vectors = [answer["embedding"] for answer in answers]
            expected = encoder.encode_texts(encoder.prepare_texts(QUERIES))
            found = [nearest(db, vector) for vector in vectors]
            found_by_torch = [nearest(db, vector.tolist()) for vector in expected]

    names = encoder.encode_texts(encoder.prepare_texts([name for name, _ in rows]))
    assert np.sum(names * as_array([vector for _, vector in rows]), axis=1).min() > 0.9999
    assert np.sum(expected * np.array(vectors), axis=1).min() > 0.9999
    assert {answer["fingerprint"] for answer in answers} == {encoder.fingerprint}
    assert found == found_by_torch
    assert "crying cat" in found[0]
