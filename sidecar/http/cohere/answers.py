"""Answers of `/v2/embed` and `/v1/embed`, in Cohere's shapes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from sidecar.batching.embedder import Embedded
from sidecar.errors import InputError
from sidecar.http.body_models import AnswerModel
from sidecar.http.cohere.bodies import CohereEmbedBody, EmbeddingType
from sidecar.http.embed.answer_parts import ApiVersion, encode_base64, vector_headers
from sidecar.http.embed.answers import Vectors
from sidecar.http.embed.contents import Content
from sidecar.http.json_response import LargeJsonResponse, SerializedList, serialize_list
from sidecar.http.models import ModelInfo


class EmbeddingsByType(AnswerModel):
    """The vectors in each requested type, in the order of the request."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    float_: Vectors | None = Field(default=None, serialization_alias="float")
    base64: list[str] | None = None
    ubinary: list[list[Annotated[int, Field(ge=0, le=255)]]] | None = None
    binary: list[list[Annotated[int, Field(ge=-128, le=127)]]] | None = None


class EmbedUnits(AnswerModel):
    """Nothing is billed: these are the tokens of the texts and the number of pictures."""

    input_tokens: int
    images: int


class EmbedMeta(AnswerModel):
    api_version: ApiVersion
    billed_units: EmbedUnits
    warnings: list[str] | None = None


class CohereEmbedAnswer(AnswerModel):
    """`embeddings` by type; for `/v1/embed` without `embedding_types` they are a plain list of vectors."""

    id: str
    response_type: Literal["embeddings_by_type", "embeddings_floats"]
    embeddings: EmbeddingsByType | Vectors
    texts: list[str] = Field(description="The texts as they were sent; empty for pictures.")
    meta: EmbedMeta


def check_embedding_types(types: Sequence[EmbeddingType]) -> None:
    """Raises InputError (`embedding_type_not_supported`) for types that the vectors cannot be converted to."""
    for index, name in enumerate(types):
        if name in {"int8", "uint8"}:
            message = (
                f"`embedding_types[{index}]` is {name!r}. The model was not trained for it, and no scale from "
                f"float to {name} is agreed on that two requests would share. Ask for float, base64, binary or ubinary."
            )
            raise InputError("embedding_type_not_supported", message, f"embedding_types[{index}]")


async def embed_response(
    body: CohereEmbedBody, contents: Sequence[Content], embedded: Sequence[Embedded], model: ModelInfo, version: str
) -> LargeJsonResponse:
    """A CohereEmbedAnswer of that API version, with VECTOR_HEADERS."""
    vectors = [result.vector for result in embedded]
    plain = version == "1" and body.embedding_types is None
    types = dict.fromkeys(body.embedding_types or ("float",))
    pictures = sum(content.is_picture for content in contents)
    tokens = sum(result.tokens for content, result in zip(contents, embedded, strict=True) if not content.is_picture)
    meta: dict[str, Any] = {
        "api_version": {"version": version},
        "billed_units": {"input_tokens": tokens, "images": pictures},
    }
    if warnings := _warnings(contents, embedded):
        meta["warnings"] = warnings
    answer = {
        "id": str(uuid.uuid4()),
        "response_type": "embeddings_floats" if plain else "embeddings_by_type",
        "embeddings": await _serialize(vectors, "float")
        if plain
        else {name: await _serialize(vectors, name) for name in types},
        "texts": [content.value for content in contents if not content.is_picture],
        "meta": meta,
    }
    return LargeJsonResponse(answer, headers=vector_headers(embedded, model))


def _warnings(contents: Sequence[Content], embedded: Sequence[Embedded]) -> list[str]:
    pairs = list(zip(contents, embedded, strict=True))
    named = {
        "Longer than the model reads, and cut": [content.param for content, result in pairs if result.truncated],
        "The model does not know at least half of": [content.param for content, result in pairs if result.unreadable],
    }
    return [f"{what}: {_name(params)}." for what, params in named.items() if params]


def _name(params: Sequence[str]) -> str:
    return params[0] if len(params) == 1 else f"{len(params)} texts, the first is {params[0]}"


async def _serialize(vectors: Sequence[NDArray[np.float32]], name: EmbeddingType) -> SerializedList:
    return await serialize_list(_convert(vector, name) for vector in vectors)


def _convert(vector: NDArray[np.float32], name: EmbeddingType) -> object:
    if name == "base64":
        return encode_base64(vector)
    if name == "float":
        return vector
    bits = np.packbits(vector > 0)  # like pgvector's binary_quantize
    return bits if name == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)
