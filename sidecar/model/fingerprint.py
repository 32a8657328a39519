"""Names a vector space: two vectors compare only if their fingerprints are equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch

from sidecar.model.preprocessing import Preprocessing
from sidecar.model.towers_in_force import towers_in_force
from sidecar.pictures.picture import ViewSettings
from sidecar.pictures.views.canonical import views_in_force

# Raised when our own code starts to make other vectors from the same model and settings.
_PIPELINE_VERSION = 2

# No vector depends on them: the scale of scores, the decoder of captions, counters of training, and numbers 0, 1, 2, ….
_IDLE_NAMES = ("logit_scale", "logit_bias")
_IDLE_PREFIX = "text_decoder."
_IDLE_SUFFIXES = (".num_batches_tracked", ".position_ids")


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
            "towers": towers_in_force(self.model_cfg, self.text_config),
            "weights": self.weights_digest,
            "tokenizer": self.tokenizer_digest,
            "channels": [self.preprocessing.mean, self.preprocessing.std],
            "views": views_in_force(self.views),
            "probe_token_ids": [list(ids) for ids in self.probe_token_ids],
        }
        canonical = json.dumps(_with_one_form_of_numbers(described), sort_keys=True, separators=(",", ":"))
        return f"{self.architecture}-{hashlib.sha256(canonical.encode()).hexdigest()[:16]}"


def _with_one_form_of_numbers(value: Any) -> Any:
    """A configuration may say 4 where another, or a default, says 4.0."""
    if isinstance(value, Mapping):
        return {key: _with_one_form_of_numbers(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_one_form_of_numbers(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def digest_weights(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, shapes and values of the weights that vectors depend on, in whatever container they are.

    Numbers with fewer bits count as fp32, which is what they are loaded into: what is stored exactly both ways is one.
    About two seconds for 3.5 GB that are cached.
    """
    # Where the text tower is a module of its own, its names have a prefix; open_clip loads either as the other.
    named = [(name.removeprefix("text."), tensor) for name, tensor in tensors.items() if not _is_idle(name)]
    with ThreadPoolExecutor(thread_name_prefix="digest-weights") as threads:
        digests = list(threads.map(_digest_tensor, sorted(named, key=itemgetter(0))))
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _is_idle(name: str) -> bool:
    return name in _IDLE_NAMES or name.startswith(_IDLE_PREFIX) or name.endswith(_IDLE_SUFFIXES)


def _digest_tensor(named: tuple[str, torch.Tensor]) -> bytes:
    name, tensor = named
    loaded = tensor.to(torch.float32) if tensor.is_floating_point() else tensor
    digest = hashlib.sha256(f"{name} {loaded.dtype} {tuple(loaded.shape)}\n".encode())
    digest.update(loaded.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()
