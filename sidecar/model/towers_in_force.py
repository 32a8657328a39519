"""An open_clip configuration → what of it decides a vector, with open_clip's defaults written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from open_clip.model import CLIPTextCfg, CLIPVisionCfg

_TIMM = ("timm_model_name", "timm_pool", "timm_proj", "timm_proj_bias")
_TRANSFORMERS = ("hf_proj_type", "hf_pooler_type")
# For training, for captions, or described by other parts of the fingerprint: the size of a view and the tokenizer.
_WITHOUT_EFFECT = frozenset(
    {"image_size", "patch_dropout", "output_tokens", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs"}
)
# Of a text tower: where its configuration came from, and what is for training or for generating texts.
_IDLE_KEYS = frozenset(
    {
        *("_name_or_path", "_commit_hash", "transformers_version", "torch_dtype", "dtype", "architectures"),
        *("initializer_range", "initializer_factor", "gradient_checkpointing", "use_cache", "task_specific_params"),
    }
)
_IDLE_WORDS = ("dropout", "layerdrop")


def towers_in_force(model_cfg: Mapping[str, Any], text_config: Mapping[str, Any] | None) -> dict[str, Any]:
    """JSON that is equal for two configurations which compute the same vectors from the same weights.

    `text_config`: the content of config.json of a text tower from the transformers library.
    """
    return {
        "embed_dim": model_cfg["embed_dim"],
        "quick_gelu": bool(model_cfg.get("quick_gelu", False)),
        "vision": _vision_in_force(model_cfg["vision_cfg"]),
        "text": _text_in_force(model_cfg["text_cfg"], text_config),
    }


def _vision_in_force(vision_cfg: Mapping[str, Any]) -> dict[str, Any]:
    described = asdict(CLIPVisionCfg(**vision_cfg))
    if described["timm_model_name"]:
        return {key: described[key] or "" for key in _TIMM}
    return {key: value for key, value in described.items() if key not in _WITHOUT_EFFECT and "timm_" not in key}


def _text_in_force(text_cfg: Mapping[str, Any], text_config: Mapping[str, Any] | None) -> dict[str, Any]:
    described = asdict(CLIPTextCfg(**text_cfg))
    if text_config is not None:
        kept = {key: described[key] for key in ("context_length", *_TRANSFORMERS)}
        return {**kept, "transformer": {key: value for key, value in text_config.items() if not _is_idle(key)}}
    return {key: value for key, value in described.items() if key not in _WITHOUT_EFFECT and "hf_" not in key}


def _is_idle(key: str) -> bool:
    return key in _IDLE_KEYS or any(word in key for word in _IDLE_WORDS)
