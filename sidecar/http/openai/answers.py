"""What `/v1/embeddings` and `/v1/models` answer, in OpenAI's shapes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sidecar.batching.embedder import Embedded
from sidecar.http.body_models import AnswerModel
from sidecar.http.embed.answers import Vector
from sidecar.http.json_response import LongJsonResponse, write_in_turns
from sidecar.http.models import ModelInfo

_FINGERPRINT, _TRUNCATED, _UNREADABLE = "X-Sidecar-Fingerprint", "X-Sidecar-Truncated", "X-Sidecar-Unreadable"
# What OpenAI's shape has no place for.
EMBEDDINGS_HEADERS = (
    (_FINGERPRINT, "The space of the vectors, which compare only if it is equal."),
    (_TRUNCATED, "How many texts were longer than the model reads; their ends have no part in their vectors."),
    (_UNREADABLE, "How many texts the model does not know at least half of; their vectors say little."),
)


class EmbeddingItem(AnswerModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: Vector | str = Field(description="Numbers, or with `base64` their float32 bytes, little-endian.")


class Usage(AnswerModel):
    """What was read: the tokens of texts that have a part in the vectors, and one for every view of a picture."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(AnswerModel):
    """Unit vectors in the order of the request."""

    object: Literal["list"] = "list"
    data: list[EmbeddingItem]
    model: str
    usage: Usage


class ModelItem(AnswerModel):
    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When this process started, in seconds since 1970.")
    owned_by: Literal["sidecar"] = "sidecar"
    root: str = Field(description="The served model, which an alias stands for; vectors come from it.")


class ModelList(AnswerModel):
    object: Literal["list"] = "list"
    data: list[ModelItem]


async def answer_embeddings(embedded: Sequence[Embedded], model: ModelInfo, *, as_base64: bool) -> LongJsonResponse:
    """Vectors in order, and in the head what EMBEDDINGS_HEADERS says."""
    items = await write_in_turns(
        EmbeddingItem(index=index, embedding=encode_base64(one.vector) if as_base64 else one.vector)
        for index, one in enumerate(embedded)
    )
    tokens = sum(one.tokens for one in embedded)
    usage = Usage(prompt_tokens=tokens, total_tokens=tokens)
    answer = EmbeddingList.model_construct(data=items, model=model.id, usage=usage)
    return LongJsonResponse(answer, headers=embeddings_headers(embedded, model))


def embeddings_headers(embedded: Sequence[Embedded], model: ModelInfo) -> dict[str, str]:
    """Those of EMBEDDINGS_HEADERS."""
    return {
        _FINGERPRINT: model.fingerprint,
        _TRUNCATED: str(sum(one.truncated for one in embedded)),
        _UNREADABLE: str(sum(one.unreadable for one in embedded)),
    }


def encode_base64(vector: NDArray[np.float32]) -> str:
    """Its float32 numbers, little-endian."""
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode("ascii")
