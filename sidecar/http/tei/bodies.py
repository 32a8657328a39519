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
    bool | None, Field(description="False: a text longer than the model reads is an error instead of being cut.")
]
_Direction = Annotated[
    Literal["right", "Right"], Field(description="Texts are cut at the end; cutting at the beginning is not supported.")
]
_PromptName = Annotated[
    str | None, AfterValidator(_refuse_prompt), Field(description="Null: the model has no prompts.")
]


class EmbedBody(RequestModel):
    """Unknown fields are ignored."""

    inputs: TextOrTexts
    truncate: _Truncate = None
    truncation_direction: _Direction = "right"
    prompt_name: _PromptName = None
    normalize: bool | None = Field(default=True, description="Ignored: vectors always have unit length.")
    dimensions: int | None = Field(
        default=None, ge=0, description="The model's own dimensions; no others are supported."
    )


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
    """Unit vectors in the order of the request; for a single text, a list of one."""


class SimilarityAnswer(RootModel[list[float]]):
    """The cosine similarity of each sentence to the source sentence."""


class Pooling(AnswerModel):
    pooling: str


class ModelType(AnswerModel):
    embedding: Pooling


class InfoAnswer(AnswerModel):
    model_id: str
    model_sha: str = Field(description="The fingerprint: vectors can be compared only if it is equal.")
    model_dtype: str = Field(description="Type of the numbers in the vectors.")
    served_model_name: str
    model_type: ModelType
    max_concurrent_requests: int = Field(description="Number of texts that may be queued (QUERY_QUEUE_VIEWS).")
    max_input_length: int = Field(description="Number of tokens of a text that the model reads.")
    max_batch_tokens: int
    max_batch_requests: int = Field(description="Maximum number of texts encoded together (BATCH_MAX_VIEWS).")
    max_client_batch_size: int = Field(description="Maximum number of texts in one request (MAX_BATCH_TEXTS).")
    auto_truncate: Literal[True] = True
    tokenization_workers: int
    version: str
    sha: str | None = None
    docker_label: str | None = None


class UnixTime(AnswerModel):
    """The same answer as infinity's `/health`; text-embeddings-inference and vLLM answer 200 without a body."""

    unix: float = Field(description="The service's time, in seconds since 1970.")
