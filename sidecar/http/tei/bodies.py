"""Bodies and answers of text-embeddings-inference's endpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, RootModel
from pydantic_core import PydanticCustomError

from sidecar.http.body_models import AnswerModel, RequestModel
from sidecar.http.embed.answers import Vectors
from sidecar.http.embed.body_parts import TextOrTexts, Texts
from sidecar.http.embed.texts import EmbeddableText


def _refuse_prompt(name: str | None) -> None:
    if name is not None:
        message = "The model has no prompts, and is used as it was trained. Leave it out."
        raise PydanticCustomError("prompts_not_supported", message)


_Truncate = Annotated[
    bool | None, Field(description="False: a text that is longer than the model reads is an error, and is not cut.")
]
_Direction = Annotated[
    Literal["right", "Right"], Field(description="Texts are cut at their end; at their beginning is not supported.")
]
_PromptName = Annotated[str | None, AfterValidator(_refuse_prompt), Field(description="Null: there are no prompts.")]


class EmbedBody(RequestModel):
    """Unknown fields are ignored."""

    inputs: TextOrTexts
    truncate: _Truncate = None
    truncation_direction: _Direction = "right"
    prompt_name: _PromptName = None
    normalize: bool | None = Field(default=True, description="Vectors are of unit length, whatever is said here.")
    dimensions: int | None = Field(default=None, ge=0, description="Those of the model; no others are made.")


class SimilarityInputs(RequestModel):
    source_sentence: EmbeddableText
    sentences: Texts


class SimilarityParameters(RequestModel):
    truncate: _Truncate = None
    truncation_direction: _Direction = "right"
    prompt_name: _PromptName = None


class SimilarityBody(RequestModel):
    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None


class EmbedAnswer(RootModel[Vectors]):
    """Unit vectors in the order of the request; a list of one for one text."""


class SimilarityAnswer(RootModel[list[float]]):
    """The cosine of each sentence with the first text."""


class Pooling(AnswerModel):
    pooling: str


class ModelType(AnswerModel):
    embedding: Pooling


class InfoAnswer(AnswerModel):
    model_id: str
    model_sha: str = Field(description="The fingerprint: vectors compare only if it is equal.")
    model_dtype: str = Field(description="Of the vectors in the answers.")
    served_model_name: str
    model_type: ModelType
    max_concurrent_requests: int = Field(description="Texts that may wait (QUERY_QUEUE_VIEWS).")
    max_input_length: int = Field(description="Tokens that the model reads of a text.")
    max_batch_tokens: int
    max_batch_requests: int = Field(description="Texts encoded together, at most (BATCH_MAX_VIEWS).")
    max_client_batch_size: int = Field(description="Texts in one request (MAX_BATCH_TEXTS).")
    auto_truncate: Literal[True] = True
    tokenization_workers: int
    version: str
    sha: str | None = None
    docker_label: str | None = None


class UnixTime(AnswerModel):
    """What infinity's `/health` answers; text-embeddings-inference and vLLM say nothing but 200."""

    unix: float = Field(description="The time here, in seconds since 1970.")
