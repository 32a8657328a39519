"""A model loaded by PyTorch, with all that an export needs of it."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.config import Settings
from sidecar.model.checkpoints.checkpoint import Checkpoint, find_checkpoint
from sidecar.model.device import ComputeDevice
from sidecar.model.fingerprint import digest_weights
from sidecar.model.identity import WeightFacts, identify
from sidecar.model.open_clip_encoder import OpenClipEncoder, Towers
from sidecar.model.preprocessing import Preprocessing, read_preprocessing
from sidecar.model.text.tokenizer import load_tokenizer
from sidecar.model.towers import load_towers, read_pair_scale, read_view_size, read_weights


@dataclass(frozen=True, slots=True)
class TorchModel:
    """The encoder, and what it was made of."""

    encoder: OpenClipEncoder
    towers: Towers
    preprocessing: Preprocessing
    checkpoint: Checkpoint
    weights: WeightFacts


def load_torch_model(compute: ComputeDevice, settings: Settings) -> TorchModel:
    """Finds, downloads if necessary, and loads the model that the settings name. Raises ModelError."""
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    checkpoint = find_checkpoint(settings.vision_model_id, token)
    preprocessing = read_preprocessing(checkpoint.model_cfg, checkpoint.preprocess_cfg)
    tokenizer = load_tokenizer(checkpoint)
    tensors = read_weights(checkpoint)
    compute = compute.for_model(sum(tensor.numel() for tensor in tensors.values()))
    towers = load_towers(checkpoint, tensors, compute, settings.vision_size)
    pair_scale = read_pair_scale(tensors, checkpoint.model_cfg)
    weights = WeightFacts(digest_weights(tensors), read_view_size(towers), pair_scale)
    identity = identify(settings, checkpoint, weights, tokenizer, preprocessing)
    encoder = OpenClipEncoder(towers, tokenizer, preprocessing, identity, compute)
    return TorchModel(encoder, towers, preprocessing, checkpoint, weights)
