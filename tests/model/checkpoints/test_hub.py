"""Models from a hub, with a test server and without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.model.open_clip_encoder import OpenClipEncoder
from tests.model.checkpoints.hub_server import serve_hub
from tests.model.variants import WEIGHTS_NAME, copy_model, edit_config

TOKEN = "hf_test_token"  # no secret
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
CLOSED_PORT = "http://127.0.0.1:9"

Outcomes = dict[str, dict[str, Any]]


def load_models(
    hub_url: str,
    cache: Path,
    *model_ids: str,
    module: str = "tests.model.checkpoints.load_models",
    prefix: str = "hf-hub:",
    **variables: str,
) -> Outcomes:
    """The outcome of loading each model in a new process with this hub and cache."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {
        **inherited,
        "HF_ENDPOINT": hub_url,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "REQUIRE_CUDA": "0",
        "MODEL_PRECISION": "fp32",
        "NO_PROXY": "127.0.0.1",
        **variables,
    }
    finished = subprocess.run(
        [sys.executable, "-m", module, *(f"{prefix}{model_id}" for model_id in model_ids)],
        env=environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    outcomes = [json.loads(line) for line in finished.stdout.splitlines()]
    return {outcome["model_id"].removeprefix("hf-hub:"): outcome for outcome in outcomes}


@pytest.fixture(scope="module")
def repositories(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Like the SigLIP repositories, with weights and tokenizer in different ones."""
    root = tmp_path_factory.mktemp("hub")
    model = make_repository(root / "model", tiny_model, tokenizer="our/tokenizer")
    (model / "open_clip_pytorch_model.bin").write_bytes(b"not wanted where there are safetensors")
    unweighted = make_repository(root / "unweighted", tiny_model, tokenizer="our/tokenizer")
    (unweighted / WEIGHTS_NAME).unlink()
    tokenizer = root / "tokenizer"
    tokenizer.mkdir()
    for name in TOKENIZER_FILES:
        shutil.copy(tiny_model / name, tokenizer / name)
    return {
        "our/model": model,
        "our/tokenizer": tokenizer,
        "our/unweighted": unweighted,
        "our/untokenized": make_repository(root / "untokenized", tiny_model, tokenizer="our/unweighted"),
        "private/model": make_repository(root / "private", tiny_model, tokenizer="our/tokenizer"),
        "cut-off/model": make_repository(root / "cut-off", tiny_model, tokenizer="our/tokenizer"),
    }


def make_repository(folder: Path, tiny_model: Path, tokenizer: str) -> Path:
    copy_model(tiny_model, folder)
    for name in (*TOKENIZER_FILES, "golden.npz"):
        (folder / name).unlink()
    edit_config(folder, lambda config: config["model_cfg"]["text_cfg"].update(hf_tokenizer_name=tokenizer))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def loaded(repositories: dict[str, Path], cache: Path) -> Outcomes:
    """The outcomes for every kind of repository, and for a missing one, without a token."""
    with serve_hub(repositories, TOKEN) as hub:
        outcomes = load_models(
            hub.url, cache, *(name for name in repositories if name != "our/tokenizer"), "our/nothing"
        )
        assert not any(path.endswith(".bin") for path in hub.requests)
    return outcomes


def test_a_model_from_the_hub_equals_the_one_in_a_folder(loaded: Outcomes, tiny_encoder: OpenClipEncoder) -> None:
    assert loaded["our/model"].get("fingerprint") == tiny_encoder.fingerprint, loaded["our/model"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("private/model", "Hugging Face answered 401 for 'private/model': set HF_TOKEN to a token"),
        ("cut-off/model", "could not be downloaded"),
        ("our/nothing", "Hugging Face has no repository 'our/nothing'"),
        ("our/unweighted", "'our/unweighted' is not an open_clip model: it lacks"),
        ("our/untokenized", "'our/untokenized' names 'our/unweighted' as its tokenizer, which holds none"),
    ],
)
def test_an_unusable_repository_is_an_error_that_says_why(loaded: Outcomes, name: str, message: str) -> None:
    assert message in loaded[name]["error"]


def test_open_clips_own_names_are_found_on_the_hub_with_tokenizer_and_text_tower(
    tiny_model: Path, tmp_path: Path
) -> None:
    """The configuration is open_clip's; weights, tokenizer and text tower are in the repositories it names."""
    names = ("ViT-SO400M-14-SigLIP-378", "ViTamin-S/datacomp1b", "nllb-clip-base/v1", "RN50-quickgelu/openai")
    tokenizer: dict[str, bytes | Path] = {name: tiny_model / name for name in TOKENIZER_FILES}
    model_card: dict[str, bytes | Path] = {"config.json": b"{}", "model.safetensors": b"of another library"}
    repositories: dict[str, dict[str, bytes | Path]] = {
        "timm/ViT-SO400M-14-SigLIP-384": {WEIGHTS_NAME: b"one", "open_clip_config.json": b"that of 384", **model_card},
        "timm/ViT-B-16-SigLIP": tokenizer,
        "jienengchen/ViTamin-S": {"pytorch_model.bin": b"two", "open_clip_pytorch_model.bin": b"another"},
        "visheratin/nllb-clip-base-oc": {"open_clip_pytorch_model.bin": b"three", **model_card},
        "facebook/nllb-200-distilled-600M": {**tokenizer, "config.json": b'{"vocab_size": 256206}', "w.bin": b"large"},
        "timm/resnet50_clip.openai": model_card,
    }
    for repository, files in repositories.items():
        folder = tmp_path / repository
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    with serve_hub({name: tmp_path / name for name in repositories}, TOKEN) as hub:
        found = load_models(
            hub.url, tmp_path / "cache", *names, module="tests.model.checkpoints.find_checkpoints", prefix=""
        )
        assert not {path.rpartition("/")[2] for path in hub.requests} & {"model.safetensors", "w.bin"}
    siglip, vitamin, nllb, resnet = (found[name] for name in names)
    assert (siglip["source"], siglip["weights"], siglip["image_size"]) == ("ViT-SO400M-14-SigLIP-378", "one", 378)
    assert (siglip["vocabulary_size"], siglip["has_tokenizer"]) == (32000, True)
    assert (vitamin["source"], vitamin["weights"], vitamin["has_tokenizer"]) == ("ViTamin-S", "two", False)
    assert (nllb["weights"], nllb["vocabulary_size"], nllb["has_tokenizer"]) == ("three", 256206, True)
    assert resnet["error"].endswith("lacks open_clip_pytorch_model.bin")


@pytest.mark.long
def test_the_token_is_sent_and_never_shown(
    repositories: dict[str, Path], tmp_path: Path, tiny_encoder: OpenClipEncoder
) -> None:
    with serve_hub(repositories, TOKEN) as hub:
        accepted = load_models(hub.url, tmp_path / "accepted", "private/model", HF_TOKEN=TOKEN)
        refused = load_models(hub.url, tmp_path / "refused", "private/model", HF_TOKEN="hf_another")
    assert accepted["private/model"].get("fingerprint") == tiny_encoder.fingerprint, accepted
    assert "HF_TOKEN is set, but its account may not read it" in refused["private/model"]["error"]
    assert "hf_another" not in refused["private/model"]["error"]


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    "variables",
    [pytest.param({}, id="unreachable", marks=pytest.mark.long), pytest.param({"HF_HUB_OFFLINE": "1"}, id="offline")],
)
def test_without_a_network_cached_models_load_and_others_fail_quickly(
    cache: Path, tiny_encoder: OpenClipEncoder, variables: dict[str, str]
) -> None:
    outcomes = load_models(CLOSED_PORT, cache, "our/model", "our/elsewhere", **variables)
    assert outcomes["our/model"].get("fingerprint") == tiny_encoder.fingerprint, outcomes
    assert outcomes["our/elsewhere"]["seconds"] < 10  # with the retries of a download it would be 23
    for remedy in ("HF_HUB_OFFLINE=1", "VISION_MODEL_ID=local-dir:/path/to/folder"):
        assert remedy in outcomes["our/elsewhere"]["error"]
