"""Where a model's configuration, weights and tokenizer lie on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip

from sidecar.errors import ModelError
from sidecar.model.hub import fetch_snapshot
from sidecar.model.local_directory import LOCAL_PREFIX, find_local_directory

HUB_PREFIX = "hf-hub:"
CONFIG_NAME = "open_clip_config.json"

# In open_clip's order of preference: what we digest must be what it loads.
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
    """`directory` holds `weights` and open_clip_config.json; `tokenizer` is a folder, None for open_clip's own BPE."""

    directory: Path
    weights: Path
    tokenizer: Path | None
    model_cfg: Mapping[str, Any]
    preprocess_cfg: Mapping[str, Any]

    @property
    def architecture(self) -> str:
        name: str = self.model_cfg["vision_cfg"].get("timm_model_name", "open_clip")
        return name


def find_checkpoint(model_id: str, token: str | None) -> Checkpoint:
    """Looks up `hf-hub:org/name` (downloading what is missing), `local-dir:/path`, `demo`, or a name open_clip knows.

    Raises ModelError where anything is missing: open_clip itself would go on with random weights or another tokenizer.
    """
    directory = find_local_directory(model_id)
    if directory is not None:
        return _read_directory(directory)
    repo_id = model_id.removeprefix(HUB_PREFIX) if model_id.startswith(HUB_PREFIX) else _repository_of(model_id)
    return _read_repository(repo_id, token)


def _read_directory(directory: Path) -> Checkpoint:
    if not directory.is_dir():
        raise ModelError(f"VISION_MODEL_ID={LOCAL_PREFIX}{directory}: there is no such directory")
    weights = _find_weights(directory)
    if weights is None:
        raise ModelError(f"{directory} holds no weights: a file named {_WEIGHTS_NAMES[0]} is expected")
    model_cfg, preprocess_cfg = _read_config(directory / CONFIG_NAME)
    tokenizer = directory if model_cfg["text_cfg"].get("hf_tokenizer_name") else None
    if tokenizer is not None and not has_tokenizer(directory):
        raise ModelError(f"{directory} holds no tokenizer: tokenizer.json and tokenizer_config.json are expected")
    return Checkpoint(directory, weights, tokenizer, model_cfg, preprocess_cfg)


def _read_repository(repo_id: str, token: str | None) -> Checkpoint:
    directory = fetch_snapshot(repo_id, (CONFIG_NAME, *_WEIGHTS_NAMES[:2]), _has_model, token) or fetch_snapshot(
        repo_id, (CONFIG_NAME, _WEIGHTS_NAMES[2]), _has_model, token
    )
    weights = _find_weights(directory) if directory is not None else None
    if directory is None or weights is None:
        raise ModelError(f"{repo_id!r} is not an open_clip model: it lacks {CONFIG_NAME} or {_WEIGHTS_NAMES[0]}")
    model_cfg, preprocess_cfg = _read_config(directory / CONFIG_NAME)
    tokenizer = None
    tokenizer_repo = model_cfg["text_cfg"].get("hf_tokenizer_name")
    if tokenizer_repo:
        tokenizer = fetch_snapshot(tokenizer_repo, TOKENIZER_NAMES, has_tokenizer, token)
        if tokenizer is None:
            raise ModelError(f"{repo_id!r} names {tokenizer_repo!r} as its tokenizer, which holds none")
    return Checkpoint(directory, weights, tokenizer, model_cfg, preprocess_cfg)


def _repository_of(name: str) -> str:
    """The one hub repository that holds the weights of open_clip's built-in model `name`."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    repositories = {open_clip.get_pretrained_cfg(name, tag).get("hf_hub", "") for tag in tags}
    # A trailing slash means the repository's default file, which is the one that `hf-hub:` loads.
    if len(repositories) == 1 and (repository := repositories.pop()).endswith("/"):
        return str(repository).rstrip("/")
    problem = (
        "open_clip knows no such model" if not tags else f"open_clip knows several weights for it ({', '.join(tags)})"
    )
    raise ModelError(f"VISION_MODEL_ID={name!r}: {problem}; name one as hf-hub:org/name or local-dir:/path")


def _find_weights(directory: Path) -> Path | None:
    for name in _WEIGHTS_NAMES:
        if (directory / name).is_file():
            return directory / name
    others = [path for suffix in ("safetensors", "bin", "pth") for path in directory.glob(f"*.{suffix}")]
    if len(others) > 1:
        found = ", ".join(sorted(path.name for path in others))
        raise ModelError(f"{directory} holds several weights files ({found}): name one of them {_WEIGHTS_NAMES[0]}")
    return others[0] if others else None


def _has_model(directory: Path) -> bool:
    return (directory / CONFIG_NAME).is_file() and _find_weights(directory) is not None


def has_tokenizer(directory: Path) -> bool:
    """Whether a tokenizer can be loaded from there."""
    has_vocabulary = any((directory / name).is_file() for name in _VOCABULARY_NAMES)
    return has_vocabulary and (directory / "tokenizer_config.json").is_file()


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        model_cfg, preprocess_cfg = config["model_cfg"], config["preprocess_cfg"]
        _ = model_cfg["embed_dim"], model_cfg["vision_cfg"].keys(), model_cfg["text_cfg"].keys()
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist: it describes an open_clip model") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        # Without preprocess_cfg open_clip would silently take CLIP's mean and crop, which give other vectors.
        raise ModelError(f"{path} lacks {error}: model_cfg and preprocess_cfg are expected") from error
    return model_cfg, preprocess_cfg
