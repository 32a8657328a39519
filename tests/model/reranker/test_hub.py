"""Cross-encoders from a hub, with a test server and without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.model.checkpoints.hub_server import serve_hub
from tests.model.checkpoints.test_hub import TOKEN, load_models
from tests.model.reranker.test_cross_encoder import load
from tests.tiny_models.cross_encoder import make_tiny_cross_encoder

MODULE = "tests.model.reranker.load_cross_encoders"


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hub")
    for name in ("reranker", "private", "older", "unweighted"):
        make_tiny_cross_encoder(root / name)
    torch.save(load_file(root / "older" / "model.safetensors"), root / "older" / "pytorch_model.bin")
    for name in ("older", "unweighted"):
        (root / name / "model.safetensors").unlink()
    (root / "reranker" / "pytorch_model.bin").write_bytes(b"not wanted where there are safetensors")
    return {
        "our/reranker": root / "reranker",
        "our/older": root / "older",
        "our/unweighted": root / "unweighted",
        "private/reranker": root / "private",
    }


@pytest.mark.long
def test_a_cross_encoder_from_the_hub_equals_the_one_in_a_folder_and_errors_say_what_to_set(
    repositories: dict[str, Path], tmp_path: Path
) -> None:
    local = load(repositories["our/reranker"])
    expected = local.score_pairs(local.prepare_pairs("a red bicycle", ["a dog", "a bicycle"]))
    with serve_hub(repositories, TOKEN) as hub:
        outcomes = load_models(hub.url, tmp_path, *repositories, "our/nothing", "our/reranker", module=MODULE)
        assert hub.requests.count("api/models/our/reranker/revision/main") == 1  # cached the second time
        assert not any(path.startswith("our/reranker") and path.endswith(".bin") for path in hub.requests)
    for name in ("our/reranker", "our/older"):
        np.testing.assert_allclose(outcomes[name].get("scores", outcomes[name]), expected, atol=1e-5)
    errors = {name: outcome["error"] for name, outcome in outcomes.items() if "error" in outcome}
    assert set(errors) == {"our/unweighted", "private/reranker", "our/nothing"}
    assert "Hugging Face answered 401 for 'private/reranker': set HF_TOKEN to a token" in errors["private/reranker"]
    assert errors["private/reranker"].endswith("check the name in RERANK_MODEL_ID")
    assert "has no repository 'our/nothing': check RERANK_MODEL_ID" in errors["our/nothing"]
    assert "the repository holds no cross-encoder: it lacks" in errors["our/unweighted"]
