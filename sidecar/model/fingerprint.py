"""Names a vector space: two vectors compare only if their fingerprints are equal."""

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

# Raised when our own code starts to make other vectors from the same model and settings.
_PIPELINE_VERSION = 2

# No vector depends on them: the scale of scores, the decoder of captions, counters of training, and numbers 0, 1, 2, ….
_IRRELEVANT_NAMES = ("logit_scale", "logit_bias")
_IRRELEVANT_PREFIX = "text_decoder."
_IRRELEVANT_SUFFIXES = (".num_batches_tracked", ".position_ids")


_TIMM_KEYS = ("timm_model_name", "timm_pool", "timm_proj", "timm_proj_bias")
_TRANSFORMERS_KEYS = ("hf_proj_type", "hf_pooler_type")
# For training, for captions, or described by other parts of the fingerprint: the size of a view and the tokenizer.
_KEYS_WITHOUT_EFFECT = frozenset(
    {"image_size", "patch_dropout", "output_tokens", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs"}
)
# Of a text tower: where its configuration came from, and what is for training or for generating texts.
_IGNORED_KEYS = frozenset(
    {
        *("_name_or_path", "_commit_hash", "transformers_version", "torch_dtype", "dtype", "architectures"),
        *("initializer_range", "initializer_factor", "gradient_checkpointing", "use_cache", "task_specific_params"),
    }
)
_IGNORED_WORDS = ("dropout", "layerdrop")


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """Everything that decides which vector a text or a picture gets, and nothing else.

    Precision, device and the versions of libraries do not: they only round. Whether they do more is what the golden
    vectors tell. `text_config` is that of a text tower from the transformers library.
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
        """For instance `vit_so400m_patch14_siglip_384-0123456789abcdef`: the same on every machine and every start."""
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
    """A configuration may say 4 where another, or a default, says 4.0."""
    if isinstance(value, Mapping):
        return {key: _normalise_numbers(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_normalise_numbers(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def digest_weights(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, shapes and values of the weights that vectors depend on, in whatever container they are.

    Numbers with fewer bits count as fp32, which is what they are loaded into: what is stored exactly both ways is one.
    About two seconds for 3.5 GB that are cached.
    """
    # Where the text tower is a module of its own, its names have a prefix; open_clip loads either as the other.
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
    """JSON that is equal for two configurations which compute the same vectors from the same weights.

    `text_config`: the content of config.json of a text tower from the transformers library.
    """
    return {
        "embed_dim": model_cfg["embed_dim"],
        "quick_gelu": bool(model_cfg.get("quick_gelu", False)),
        "vision": _canonical_vision(model_cfg["vision_cfg"]),
        "text": _canonical_text(model_cfg["text_cfg"], text_config),
    }


def _canonical_vision(vision_cfg: Mapping[str, Any]) -> dict[str, Any]:
    described = asdict(CLIPVisionCfg(**vision_cfg))
    if described["timm_model_name"]:
        return {key: described[key] or "" for key in _TIMM_KEYS}
    return {key: value for key, value in described.items() if key not in _KEYS_WITHOUT_EFFECT and "timm_" not in key}


def _canonical_text(text_cfg: Mapping[str, Any], text_config: Mapping[str, Any] | None) -> dict[str, Any]:
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
