"""Answers of `/embed/…`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, InstanceOf, WithJsonSchema

from sidecar.batching.embedder import Embedded
from sidecar.http.body_models import AnswerModel
from sidecar.http.json_response import JsonResponse, LargeJsonResponse, serialize_list
from sidecar.http.models import ModelInfo, Models

_NUMBERS = {"type": "array", "items": {"type": "number"}}
UNREADABLE = (
    "The model does not know at least half of the text that it read, such as words in another script. To the model all "
    "unknown words are the same, so the vector carries little meaning."
)
Vector = Annotated[InstanceOf[np.ndarray], WithJsonSchema(_NUMBERS)]
Vectors = Annotated[InstanceOf[np.ndarray], WithJsonSchema({"type": "array", "items": _NUMBERS})]


class PairScaleAnswer(AnswerModel):
    """sigmoid(scale · (1 - distance) + bias) is the probability that a text and a picture belong together."""

    scale: float
    bias: float


class EmbeddingAnswer(AnswerModel):
    """A unit vector, and its vector space."""

    embedding: Vector
    dim: int
    model: str
    fingerprint: str = Field(description="Vectors can be compared only if their fingerprints are equal.")
    truncated: bool = Field(description="The text was longer than the model reads; its end does not affect the vector.")
    unreadable: bool = Field(description=UNREADABLE)
    pair_scale: PairScaleAnswer | None = Field(
        description="For the distance of a text and a picture; null if the model has none. With ENABLE_TTA a picture's "
        "vector is the mean of several views, for which it was not trained: compare the probabilities with each other."
    )


class EmbeddingsAnswer(AnswerModel):
    """Unit vectors in the order of the request."""

    embeddings: Vectors
    dim: int
    model: str
    fingerprint: str
    truncated: list[bool]
    unreadable: list[bool]


def embedding_response(embedded: Embedded, models: Models) -> JsonResponse:
    """An EmbeddingAnswer."""
    model, scale = models.embedding_model, models.pair_scale
    answer = EmbeddingAnswer(
        embedding=embedded.vector,
        dim=model.dim,
        model=model.id,
        fingerprint=model.fingerprint,
        truncated=embedded.truncated,
        unreadable=embedded.unreadable,
        pair_scale=None if scale is None else PairScaleAnswer(scale=scale.scale, bias=scale.bias),
    )
    return JsonResponse(answer)


async def embeddings_response(embedded: Sequence[Embedded], model: ModelInfo) -> LargeJsonResponse:
    """An EmbeddingsAnswer; its vectors are (n, dim)."""
    answer = EmbeddingsAnswer.model_construct(
        embeddings=await serialize_list(result.vector for result in embedded),
        dim=model.dim,
        model=model.id,
        fingerprint=model.fingerprint,
        truncated=[result.truncated for result in embedded],
        unreadable=[result.unreadable for result in embedded],
    )
    return LargeJsonResponse(answer)
