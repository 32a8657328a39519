"""Resolves open_clip's own model names to a configuration of its package and weights on the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg

from sidecar.errors import ModelError

_QUICK_GELU_SUFFIX = "-quickgelu"
_ALTERNATIVE = "name one as hf-hub:org/name or local-dir:/path"


@dataclass(frozen=True, slots=True)
class NamedModel:
    """`file` is the name of the weights file in `repository`; empty for the one that `hf-hub:` loads."""

    name: str
    tag: str
    repository: str
    file: str
    model_cfg: Mapping[str, Any]
    preprocess_cfg: Mapping[str, Any]


def find_named_model(model_id: str) -> NamedModel:
    """Resolves `ViT-B-32-quickgelu/openai`, or a configuration's name alone if open_clip knows just one tag for it.

    Raises ModelError that lists the valid names.
    """
    name, tag = _parse_model_id(model_id)
    weights = get_pretrained_cfg(name, tag)
    model_cfg = open_clip.get_model_config(name)
    if not _has_trained_activation(name, tag):
        raise ModelError(_explain_activation(model_id, name, tag, bool(weights.get("quick_gelu"))))
    org, repository, file = str(weights["hf_hub"]).split("/", 2)
    # The entry of a tag contains the preprocessing, beside other keys, which are ignored.
    return NamedModel(name, tag, f"{org}/{repository}", file, model_cfg, weights)


def _parse_model_id(model_id: str) -> tuple[str, str]:
    """The configuration's name and the tag of its weights. Like open_clip, it also accepts `ViT-B/32`."""
    known = set(open_clip.list_models())
    whole = model_id.replace("/", "-")
    if whole in known:
        return whole, _only_tag(model_id, whole)
    name, _, tag = model_id.rpartition("/")
    name = name.replace("/", "-")
    if name not in known:
        raise ModelError(f"VISION_MODEL_ID={model_id!r}: open_clip knows no such model; {_ALTERNATIVE}")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        have = f"it knows {', '.join(tags)}" if tags else "it knows none at all"
        raise ModelError(
            f"VISION_MODEL_ID={model_id!r}: open_clip knows no such weights of {name}: {have}; {_ALTERNATIVE}"
        )
    return name, tag


def _only_tag(model_id: str, name: str) -> str:
    """The tag of a configuration with one set of weights. Raises ModelError that lists the tags of others."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    if len(tags) == 1:
        return str(tags[0])
    if not tags:
        raise ModelError(f"VISION_MODEL_ID={model_id!r}: open_clip knows no weights for it; {_ALTERNATIVE}")
    example = next((tag for tag in tags if _has_trained_activation(name, tag)), tags[0])
    raise ModelError(
        f"VISION_MODEL_ID={model_id!r}: open_clip knows several weights for it ({', '.join(tags)}); "
        f"say which, for instance {name}/{example}, or {_ALTERNATIVE}"
    )


def _has_trained_activation(name: str, tag: str) -> bool:
    """True if the configuration has the activation that the weights were trained with."""
    trained, computed = get_pretrained_cfg(name, tag), open_clip.get_model_config(name)
    return bool(trained.get("quick_gelu")) == bool(computed.get("quick_gelu"))


def _explain_activation(model_id: str, name: str, tag: str, trained_with_quick_gelu: bool) -> str:
    """The error for weights under a configuration with another activation, about which open_clip only warns."""
    twin = name + _QUICK_GELU_SUFFIX if trained_with_quick_gelu else name.removesuffix(_QUICK_GELU_SUFFIX)
    trained = "with" if trained_with_quick_gelu else "without"
    if twin != name and tag in open_clip.list_pretrained_tags_by_model(twin):
        remedy = f"name {twin}/{tag}"
    else:
        remedy = f"name hf-hub:{str(get_pretrained_cfg(name, tag)['hf_hub']).rstrip('/')}"
    computes = "without" if trained_with_quick_gelu else "with"
    return (
        f"VISION_MODEL_ID={model_id!r}: open_clip lists these weights as trained {trained} QuickGELU, and {name} "
        f"computes {computes} it, which gives other vectors: {remedy}"
    )
