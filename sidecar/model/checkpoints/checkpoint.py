"""Finds a model's configuration, weights and tokenizer, and downloads what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.errors import ModelError
from sidecar.model.checkpoints.hub import fetch_snapshot
from sidecar.model.checkpoints.local_directory import LOCAL_PREFIX, find_local_directory
from sidecar.model.checkpoints.named_models import NamedModel, find_named_model

HUB_PREFIX = "hf-hub:"
CONFIG_NAME = "open_clip_config.json"
TEXT_CONFIG_NAME = "config.json"
_CLIP_VOCABULARY_SIZE = 49408
_CLIP_CONTEXT_LENGTH = 77

# In open_clip's order of preference.
_WEIGHTS_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
# On the hub `model.safetensors` belongs to another library, which names its tensors differently.
_HUB_WEIGHTS_NAMES = _WEIGHTS_NAMES[:3]
_VOCABULARY_NAMES = (
    "tokenizer.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
)
TOKENIZER_NAMES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "config.json",
    *_VOCABULARY_NAMES,
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The local files of a model, and its configuration.

    `source` is open_clip's name of the configuration: `local-dir:/path`, or one of its own names. `tokenizer` is a
    folder, None for open_clip's own BPE. `text_tower` is the folder with the config.json of a text tower from the
    transformers library, None for open_clip's own towers.
    """

    source: str
    weights: Path
    tokenizer: Path | None
    text_tower: Path | None
    model_cfg: Mapping[str, Any]
    preprocess_cfg: Mapping[str, Any]

    @property
    def text_config(self) -> Mapping[str, Any] | None:
        """The config.json of a text tower from transformers; None for open_clip's own towers. Raises ModelError."""
        if self.text_tower is None:
            return None
        path = self.text_tower / TEXT_CONFIG_NAME
        config = _read_json(path, "a text tower")
        if not isinstance(config, dict) or not isinstance(config.get("vocab_size"), int):
            raise ModelError(f"{path} has no vocab_size: the description of a text tower is expected")
        return config

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids that the text tower accepts. Raises ModelError."""
        described = self.model_cfg["text_cfg"] if self.text_config is None else self.text_config
        return int(described.get("vocab_size", _CLIP_VOCABULARY_SIZE))

    @property
    def context_length(self) -> int:
        """Tokens that the text tower reads."""
        return int(self.model_cfg["text_cfg"].get("context_length", _CLIP_CONTEXT_LENGTH))

    @property
    def architecture(self) -> str:
        name: str = self.model_cfg["vision_cfg"].get("timm_model_name", "open_clip")
        return name


def find_checkpoint(model_id: str, token: str | None) -> Checkpoint:
    """Finds `hf-hub:org/name` (downloading what is missing), `local-dir:/path`, `demo`, or a name of open_clip's.

    Raises ModelError if anything is missing: open_clip itself would continue with random weights or another tokenizer.
    """
    directory = find_local_directory(model_id)
    if directory is not None:
        return _read_directory(directory.absolute())
    if model_id.startswith(HUB_PREFIX):
        return _read_repository(model_id.removeprefix(HUB_PREFIX), token)
    return _read_named(find_named_model(model_id), token)


def _read_directory(directory: Path) -> Checkpoint:
    if not directory.is_dir():
        raise ModelError(f"VISION_MODEL_ID={LOCAL_PREFIX}{directory}: there is no such directory")
    weights = _find_weights(directory)
    if weights is None:
        raise ModelError(f"{directory} holds no weights: a file named {_WEIGHTS_NAMES[0]} is expected")
    model_cfg, preprocess_cfg = read_config(directory / CONFIG_NAME)
    tokenizer = directory if model_cfg["text_cfg"].get("hf_tokenizer_name") else None
    if tokenizer is not None and not has_tokenizer(directory):
        raise ModelError(f"{directory} holds no tokenizer: tokenizer.json and tokenizer_config.json are expected")
    text_tower = _find_text_tower(model_cfg, directory)
    return Checkpoint(f"{LOCAL_PREFIX}{directory}", weights, tokenizer, text_tower, model_cfg, preprocess_cfg)


def _find_text_tower(model_cfg: Mapping[str, Any], directory: Path) -> Path | None:
    """The folder with the text tower's config.json: the path in `hf_model_name`, else the model's own folder."""
    name = model_cfg["text_cfg"].get("hf_model_name")
    if not name:
        return None
    for folder in (Path(name), directory):
        # No relative paths: `roberta-base` is a name on the hub, even if the working directory contains such a folder.
        if folder.is_absolute() and _has_text_config(folder):
            return folder
    raise ModelError(f"{directory} lacks {TEXT_CONFIG_NAME}: it describes the text tower, {name!r}")


def _read_repository(repo_id: str, token: str | None) -> Checkpoint:
    weights = _fetch_weights(repo_id, _HUB_WEIGHTS_NAMES, (CONFIG_NAME,), token)
    if weights is None:
        raise ModelError(f"{repo_id!r} is not an open_clip model: it lacks {CONFIG_NAME} or {_WEIGHTS_NAMES[0]}")
    model_cfg, preprocess_cfg = read_config(weights.parent / CONFIG_NAME)
    tokenizer, text_tower = _fetch_texts(repo_id, model_cfg, token)
    return Checkpoint(f"{LOCAL_PREFIX}{weights.parent}", weights, tokenizer, text_tower, model_cfg, preprocess_cfg)


def _read_named(named: NamedModel, token: str | None) -> Checkpoint:
    """Uses open_clip's own configuration: the repository's may name another size for the same weights."""
    names = (str(Path(named.file).with_suffix(".safetensors")), named.file) if named.file else _HUB_WEIGHTS_NAMES
    weights = _fetch_weights(named.repository, names, (), token)
    if weights is None:
        raise ModelError(f"{named.repository!r}, where open_clip says {named.name} is, lacks {names[-1]}")
    tokenizer, text_tower = _fetch_texts(named.name, named.model_cfg, token)
    return Checkpoint(named.name, weights, tokenizer, text_tower, named.model_cfg, named.preprocess_cfg)


def _fetch_weights(repo_id: str, names: Sequence[str], beside: Sequence[str], token: str | None) -> Path | None:
    """The first of `names` that the repository has, downloaded together with `beside`.

    The last name is requested only if the repository has none of the others.
    """

    def is_complete(folder: Path) -> bool:
        return _first_file(folder, names) is not None and all((folder / name).is_file() for name in beside)

    for wanted in (names[:-1], names[-1:]):
        folder = fetch_snapshot(repo_id, (*beside, *wanted), is_complete, token)
        if folder is not None:
            return _first_file(folder, names)
    return None


def _fetch_texts(model: str, model_cfg: Mapping[str, Any], token: str | None) -> tuple[Path | None, Path | None]:
    """The folders of the tokenizer and the text tower's config.json, which may be in other repositories."""
    tokenizer_repo, tower_repo = (model_cfg["text_cfg"].get(key) for key in ("hf_tokenizer_name", "hf_model_name"))
    tokenizer = fetch_snapshot(tokenizer_repo, TOKENIZER_NAMES, has_tokenizer, token) if tokenizer_repo else None
    if tokenizer_repo and tokenizer is None:
        raise ModelError(f"{model!r} names {tokenizer_repo!r} as its tokenizer, which holds none")
    tower = fetch_snapshot(tower_repo, (TEXT_CONFIG_NAME,), _has_text_config, token) if tower_repo else None
    if tower_repo and tower is None:
        raise ModelError(f"{model!r} names {tower_repo!r} as its text tower, which lacks {TEXT_CONFIG_NAME}")
    return tokenizer, tower


def _find_weights(directory: Path) -> Path | None:
    """The weights file: a preferred name, or the only file of its kind. None if there is none."""
    if preferred := _first_file(directory, _WEIGHTS_NAMES):
        return preferred
    others = [path for suffix in ("safetensors", "bin", "pth") for path in directory.glob(f"*.{suffix}")]
    if len(others) > 1:
        found = ", ".join(sorted(path.name for path in others))
        raise ModelError(f"{directory} holds several weights files ({found}): name one of them {_WEIGHTS_NAMES[0]}")
    return others[0] if others else None


def _first_file(directory: Path, names: Sequence[str]) -> Path | None:
    return next((directory / name for name in names if (directory / name).is_file()), None)


def _has_text_config(directory: Path) -> bool:
    return (directory / TEXT_CONFIG_NAME).is_file()


def has_tokenizer(directory: Path) -> bool:
    """True if the folder contains the files of a tokenizer."""
    has_vocabulary = any((directory / name).is_file() for name in _VOCABULARY_NAMES)
    return has_vocabulary and (directory / "tokenizer_config.json").is_file()


def read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """`model_cfg` and `preprocess_cfg` of an open_clip_config.json. Raises ModelError."""
    config = _read_json(path, "an open_clip model")
    try:
        model_cfg, preprocess_cfg = config["model_cfg"], config["preprocess_cfg"]
        _ = model_cfg["embed_dim"], model_cfg["vision_cfg"].keys(), model_cfg["text_cfg"].keys()
    except (KeyError, TypeError, AttributeError) as error:
        # Without preprocess_cfg open_clip would silently use CLIP's mean and crop, even for a SigLIP model.
        raise ModelError(f"{path} lacks {error}: model_cfg and preprocess_cfg are expected") from error
    return model_cfg, preprocess_cfg


def _read_json(path: Path, what: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist: it describes {what}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
