"""Answers of `/embed/…`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, InstanceOf, WithJsonSchema

from sidecar.batching.embedder import Embedded
from sidecar.http.body_models import AnswerModel
from sidecar.http.json_response import JsonResponse, LargeJsonResponse, serialize_list
from sidecar.http.models import ModelInfo

_NUMBERS = {"type": "array", "items": {"type": "number"}}
UNREADABLE = (
    "The model does not know at least half of the text that it read, such as words in another script. To the model all "
    "unknown words are the same, so the vector carries little meaning."
)
Vector = Annotated[InstanceOf[np.ndarray], WithJsonSchema(_NUMBERS)]
Vectors = Annotated[InstanceOf[np.ndarray], WithJsonSchema({"type": "array", "items": _NUMBERS})]


class EmbeddingAnswer(AnswerModel):
    """A unit vector, and its vector space."""

    embedding: Vector
    dim: int
    model: str
    fingerprint: str = Field(description="Vectors can be compared only if their fingerprints are equal.")
    truncated: bool = Field(description="The text was longer than the model reads; its end does not affect the vector.")
    unreadable: bool = Field(description=UNREADABLE)


class EmbeddingsAnswer(AnswerModel):
    """Unit vectors in the order of the request."""

    embeddings: Vectors
    dim: int
    model: str
    fingerprint: str
    truncated: list[bool]
    unreadable: list[bool]


def embedding_response(embedded: Embedded, model: ModelInfo) -> JsonResponse:
    """An EmbeddingAnswer."""
    answer = EmbeddingAnswer(
        embedding=embedded.vector,
        dim=model.dim,
        model=model.id,
        fingerprint=model.fingerprint,
        truncated=embedded.truncated,
        unreadable=embedded.unreadable,
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
