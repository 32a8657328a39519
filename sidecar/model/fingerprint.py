"""The fingerprint of a vector space: vectors are comparable only if their fingerprints are equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from sidecar.model.preprocessing import Preprocessing
from sidecar.pictures.views.plan import canonical_view_settings
from sidecar.pictures.views.settings import ViewSettings

# Incremented when a change of our own code changes the vectors of the same model and settings.
_PIPELINE_VERSION = 2

# Tensors that no vector depends on: the scale of scores, the caption decoder, training counters, position ids 0, 1, ….
_IRRELEVANT_NAMES = ("logit_scale", "logit_bias")
_IRRELEVANT_PREFIX = "text_decoder."
_IRRELEVANT_SUFFIXES = (".num_batches_tracked", ".position_ids")


_TIMM_KEYS = ("timm_model_name", "timm_pool", "timm_proj", "timm_proj_bias")
_TRANSFORMERS_KEYS = ("hf_proj_type", "hf_pooler_type")
# Keys for training or captions, or covered by other parts of the fingerprint: the view size and the tokenizer.
_KEYS_WITHOUT_EFFECT = frozenset(
    {"image_size", "patch_dropout", "output_tokens", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs"}
)
# Keys of a text tower that only state its origin, or serve training or text generation.
_IGNORED_KEYS = frozenset(
    {
        *("_name_or_path", "_commit_hash", "transformers_version", "torch_dtype", "dtype", "architectures"),
        *("initializer_range", "initializer_factor", "gradient_checkpointing", "use_cache", "task_specific_params"),
    }
)
_IGNORED_WORDS = ("dropout", "layerdrop")


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """Everything that determines the vector of a text or a picture, and nothing else.

    Precision, device and library versions are not part of it: they affect rounding only, which the golden vectors
    check. `text_config` is the configuration of a text tower from the transformers library.
    """

    architecture: str
    model_cfg: Mapping[str, Any]
    text_config: Mapping[str, Any] | None
    weights_digest: str
    tokenizer_digest: str
    preprocessing: Preprocessing
    views: ViewSettings
    probe_token_ids: Sequence[Sequence[int]]

    def fingerprint(self) -> str:
        """For example `vit_so400m_patch14_siglip_384-0123456789abcdef`: the same on every machine, at every start."""
        described = {
            "pipeline": _PIPELINE_VERSION,
            "towers": canonical_model_config(self.model_cfg, self.text_config),
            "weights": self.weights_digest,
            "tokenizer": self.tokenizer_digest,
            "channels": [self.preprocessing.mean, self.preprocessing.std],
            "views": canonical_view_settings(self.views),
            "probe_token_ids": [list(ids) for ids in self.probe_token_ids],
        }
        canonical = json.dumps(_normalise_numbers(described), sort_keys=True, separators=(",", ":"))
        return f"{self.architecture}-{hashlib.sha256(canonical.encode()).hexdigest()[:16]}"


def _normalise_numbers(value: Any) -> Any:
    """Replaces 4.0 by 4, as configurations and defaults differ in how they write whole numbers."""
    if isinstance(value, Mapping):
        return {key: _normalise_numbers(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_normalise_numbers(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def digest_weights(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of names, shapes and values of the weights that vectors depend on, independent of the file format.

    Numbers with fewer bits are digested as fp32, into which they are loaded, so that weights which fp16 stores exactly
    have one digest in both formats. Takes about two seconds for 3.5 GB in the page cache.
    """
    # The tensors of a text tower that is a separate module have a prefix; open_clip loads both forms interchangeably.
    named = [(name.removeprefix("text."), tensor) for name, tensor in tensors.items() if not _is_irrelevant(name)]
    with ThreadPoolExecutor(thread_name_prefix="digest-weights") as threads:
        digests = list(threads.map(_digest_tensor, sorted(named, key=itemgetter(0))))
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _is_irrelevant(name: str) -> bool:
    return name in _IRRELEVANT_NAMES or name.startswith(_IRRELEVANT_PREFIX) or name.endswith(_IRRELEVANT_SUFFIXES)


def _digest_tensor(named: tuple[str, torch.Tensor]) -> bytes:
    name, tensor = named
    loaded = tensor.to(torch.float32) if tensor.is_floating_point() else tensor
    digest = hashlib.sha256(f"{name} {loaded.dtype} {tuple(loaded.shape)}\n".encode())
    digest.update(loaded.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def canonical_model_config(model_cfg: Mapping[str, Any], text_config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The canonical form of an open_clip configuration, as JSON: equal if the same weights give the same vectors.

    open_clip's defaults are written out, and keys without effect are removed. `text_config` is the config.json of a
    text tower from the transformers library.
    """
    return {
        "embed_dim": model_cfg["embed_dim"],
        "quick_gelu": bool(model_cfg.get("quick_gelu", False)),
        "vision": _canonical_vision(model_cfg["vision_cfg"]),
        "text": _canonical_text(model_cfg["text_cfg"], text_config),
    }


def _canonical_vision(vision_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that affect vectors: of open_clip's own vision tower, or of one from timm."""
    described = asdict(CLIPVisionCfg(**vision_cfg))
    if described["timm_model_name"]:
        return {key: described[key] or "" for key in _TIMM_KEYS}
    return {key: value for key, value in described.items() if key not in _KEYS_WITHOUT_EFFECT and "timm_" not in key}


def _canonical_text(text_cfg: Mapping[str, Any], text_config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The keys that affect vectors: of open_clip's own text tower, or of one from transformers."""
    described = asdict(CLIPTextCfg(**text_cfg))
    if text_config is not None:
        kept = {key: described[key] for key in ("context_length", *_TRANSFORMERS_KEYS)}
        return {
            **kept,
            "transformer": {key: value for key, value in text_config.items() if not _is_ignored_key(key)},
        }
    return {key: value for key, value in described.items() if key not in _KEYS_WITHOUT_EFFECT and "hf_" not in key}


def _is_ignored_key(key: str) -> bool:
    return key in _IGNORED_KEYS or any(word in key for word in _IGNORED_WORDS)
