"""Answers of `/v1/embeddings` and `/v1/models`, in OpenAI's shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from sidecar.batching.embedder import Embedded
from sidecar.http.body_models import AnswerModel
from sidecar.http.embed.answer_parts import Usage, encode_base64, vector_headers
from sidecar.http.embed.answers import Vector
from sidecar.http.json_response import LargeJsonResponse, serialize_list
from sidecar.http.models import ModelInfo


class EmbeddingItem(AnswerModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: Vector | str = Field(description="The numbers, or with `base64` their float32 bytes, little-endian.")


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
    root: str = Field(description="The served model behind an alias, which makes the vectors.")


class ModelList(AnswerModel):
    object: Literal["list"] = "list"
    data: list[ModelItem]


async def embeddings_response(embedded: Sequence[Embedded], model: ModelInfo, *, as_base64: bool) -> LargeJsonResponse:
    """An EmbeddingList with VECTOR_HEADERS."""
    items = await serialize_list(
        EmbeddingItem(index=index, embedding=encode_base64(result.vector) if as_base64 else result.vector)
        for index, result in enumerate(embedded)
    )
    tokens = sum(result.tokens for result in embedded)
    usage = Usage(prompt_tokens=tokens, total_tokens=tokens)
    answer = EmbeddingList.model_construct(data=items, model=model.id, usage=usage)
    return LargeJsonResponse(answer, headers=vector_headers(embedded, model))
