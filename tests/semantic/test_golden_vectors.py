"""The self-test of the packaged model at start: with damaged weights the service does not become ready."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest
import torch

from sidecar.model.checkpoints.local_directory import find_local_directory
from sidecar.model.golden import find_golden
from sidecar.model.selftest import run_self_test
from tests.integration.http.conftest import Serving, serving
from tests.model.variants import edit_weights, load_on_cpu
from tests.semantic.demo_model import DemoModel
from tests.waiting import wait_until_async

__all__ = ["serving"]

ONE_WEIGHT = "text.text_projection"


@pytest.fixture
def copied_model(tmp_path: Path) -> Path:
    directory = find_local_directory("demo")
    assert directory is not None
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_the_packaged_model_gives_its_golden_vectors(model: DemoModel) -> None:
    golden = find_golden("demo", None)
    assert golden is not None
    run_self_test(model.encoder, golden)


def test_its_fingerprint_does_not_depend_on_its_folder(model: DemoModel, copied_model: Path) -> None:
    elsewhere = load_on_cpu(copied_model)
    assert elsewhere.fingerprint == model.encoder.fingerprint
    assert elsewhere.model_id != model.encoder.model_id == "demo"


async def test_the_service_does_not_become_ready_with_a_corrupted_tensor(copied_model: Path, serving: Serving) -> None:
    def corrupt(weights: torch.Tensor) -> torch.Tensor:
        weights[: len(weights) // 2] *= -1.0
        return weights

    edit_weights(copied_model, ONE_WEIGHT, corrupt)
    async with serving(
        lambda _settings: load_on_cpu(copied_model), await_ready=False, vision_model_id=f"local-dir:{copied_model}"
    ) as client:
        await wait_until_async(lambda: _says(client, "self-test"), "the self-test to fail")
        assert "golden vectors" in (await client.get("/readyz")).text
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.post("/embed/text", json={"text": "a cat"})).status_code == 503


async def _says(client: httpx.AsyncClient, word: str) -> bool:
    return word in (await client.get("/readyz")).text
