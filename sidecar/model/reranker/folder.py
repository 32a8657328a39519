"""Where a cross-encoder's files lie on this machine."""

from __future__ import annotations

from pathlib import Path

from sidecar.errors import ModelError
from sidecar.model.checkpoints.checkpoint import HUB_PREFIX, TOKENIZER_NAMES, has_tokenizer
from sidecar.model.checkpoints.hub import fetch_snapshot
from sidecar.model.checkpoints.local_directory import LOCAL_PREFIX

_VARIABLE = "RERANK_MODEL_ID"
_CONFIG_NAMES = ("config.json", "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")
_WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")  # the first that a repository has


def find_cross_encoder(model_id: str, token: str | None) -> Path:
    """The folder of `org/name` on Hugging Face (downloading what is missing), or of `local-dir:/path`.

    Raises ModelError that says what to set.
    """
    if model_id.startswith(LOCAL_PREFIX):
        return _check_directory(Path(model_id.removeprefix(LOCAL_PREFIX)).expanduser())
    repo_id = model_id.removeprefix(HUB_PREFIX)
    for weights_name in _WEIGHTS_NAMES:
        names = (*_CONFIG_NAMES, *TOKENIZER_NAMES, weights_name)
        folder = fetch_snapshot(repo_id, names, _is_complete, token, _VARIABLE)
        if folder is not None:
            return folder
    lacking = f"it lacks config.json, {_WEIGHTS_NAMES[0]} or a tokenizer"
    raise ModelError(f"{_VARIABLE}={model_id}: the repository holds no cross-encoder: {lacking}")


def _check_directory(directory: Path) -> Path:
    if not directory.is_dir():
        raise ModelError(f"{_VARIABLE}={LOCAL_PREFIX}{directory}: there is no such directory")
    if not (directory / "config.json").is_file():
        raise ModelError(f"{_VARIABLE}={LOCAL_PREFIX}{directory}: it holds no config.json, which describes the model")
    if not has_tokenizer(directory):
        raise ModelError(f"{_VARIABLE}={LOCAL_PREFIX}{directory}: it holds no tokenizer: tokenizer.json is expected")
    return directory


def _is_complete(directory: Path) -> bool:
    has_weights = any((directory / name).is_file() for name in _WEIGHTS_NAMES)
    return (directory / "config.json").is_file() and has_weights and has_tokenizer(directory)
