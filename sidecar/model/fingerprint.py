"""Names a vector space: two vectors compare only if their fingerprints are equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import torch

from sidecar.model.preprocessing import Preprocessing
from sidecar.pictures.picture import ViewSettings

# Raised when our own code starts to make other vectors from the same model and settings.
_PIPELINE_VERSION = 1


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """Everything that decides which vector a text or a picture gets. Precision and device do not: they only round."""

    architecture: str
    model_cfg: Mapping[str, Any]
    weights_digest: str
    preprocessing: Preprocessing
    views: ViewSettings
    probe_token_ids: Sequence[Sequence[int]]

    def fingerprint(self) -> str:
        """For instance `vit_so400m_patch14_siglip_384-0123456789abcdef`: the same on every machine and every start."""
        described = {
            "pipeline": _PIPELINE_VERSION,
            "model": _without_paths(self.model_cfg),
            "weights": self.weights_digest,
            "preprocessing": asdict(self.preprocessing),
            "views": _settings_in_force(self.views),
            "probe_token_ids": [list(ids) for ids in self.probe_token_ids],
        }
        canonical = json.dumps(described, sort_keys=True, separators=(",", ":"))
        return f"{self.architecture}-{hashlib.sha256(canonical.encode()).hexdigest()[:16]}"


def digest_weights(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values as stored in a file, in whatever container they are.

    About two seconds for 3.5 GB that are cached.
    """
    with ThreadPoolExecutor(thread_name_prefix="digest-weights") as threads:
        digests = list(threads.map(_digest_tensor, sorted(tensors.items())))
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _digest_tensor(named: tuple[str, torch.Tensor]) -> bytes:
    name, tensor = named
    digest = hashlib.sha256(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def _without_paths(model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Without the tokenizer's name: a copy of the model calls it otherwise, and its ids are probed."""
    text_cfg = {key: value for key, value in model_cfg["text_cfg"].items() if key != "hf_tokenizer_name"}
    return {**model_cfg, "text_cfg": text_cfg}


def _settings_in_force(views: ViewSettings) -> dict[str, Any]:
    return asdict(views) if views.enable_tta else {"view_size": views.view_size, "enable_tta": False}
