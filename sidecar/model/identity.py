"""What an encoder says about its model, whatever runs it."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.batching.encoder import PairScale
from sidecar.config import Settings
from sidecar.model.checkpoints.checkpoint import Checkpoint
from sidecar.model.fingerprint import VectorSpace
from sidecar.model.preprocessing import Preprocessing
from sidecar.model.probes import FINGERPRINT_TEXTS
from sidecar.model.text.tokenizer import TextTokenizer
from sidecar.pictures.views.settings import SQUASHED, Framing, ViewSettings


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """A model's name, and the properties of its inputs and vectors."""

    model_id: str
    fingerprint: str
    dimensions: int
    view_size: int
    pair_scale: PairScale | None = None
    framing: Framing = SQUASHED


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """What has to be known of the weights to identify the model. `digest` is that of `digest_weights`."""

    digest: str
    view_size: int
    pair_scale: PairScale | None


def identify(
    settings: Settings,
    checkpoint: Checkpoint,
    weights: WeightFacts,
    tokenizer: TextTokenizer,
    preprocessing: Preprocessing,
) -> ModelIdentity:
    """The identity of the model that the settings name: the same for each backend that computes the same vectors."""
    space = VectorSpace(
        architecture=checkpoint.architecture,
        model_cfg=checkpoint.model_cfg,
        text_config=checkpoint.text_config,
        weights_digest=weights.digest,
        tokenizer_digest=tokenizer.digest(),
        preprocessing=preprocessing,
        views=ViewSettings.from_settings(settings, weights.view_size, preprocessing.framing),
        probe_token_ids=[text.token_ids.tolist() for text in tokenizer.prepare(FINGERPRINT_TEXTS)],
    )
    return ModelIdentity(
        settings.vision_model_id,
        space.fingerprint(),
        int(checkpoint.model_cfg["embed_dim"]),
        weights.view_size,
        weights.pair_scale,
        preprocessing.framing,
    )


class IdentifiedEncoder:
    """The part of an encoder that only reads its model's identity."""

    def __init__(self, identity: ModelIdentity) -> None:
        self._identity = identity

    @property
    def model_id(self) -> str:
        return self._identity.model_id

    @property
    def fingerprint(self) -> str:
        return self._identity.fingerprint

    @property
    def dimensions(self) -> int:
        return self._identity.dimensions

    @property
    def view_size(self) -> int:
        return self._identity.view_size

    @property
    def pair_scale(self) -> PairScale | None:
        """The model's own scale and bias; None for a model not trained with a sigmoid loss."""
        return self._identity.pair_scale

    @property
    def framing(self) -> Framing:
        """How whole pictures are fitted into the model's input."""
        return self._identity.framing
