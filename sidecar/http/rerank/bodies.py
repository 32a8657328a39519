"""The body of the rerank endpoints, as sent by clients of Cohere, Jina, vLLM, infinity, text-embeddings-inference."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sidecar.http.body_models import RequestModel
from sidecar.http.embed.body_parts import ImageUrl
from sidecar.http.embed.texts import EmbeddableText
from sidecar.http.limits import limited


class DocumentObject(RequestModel):
    """Has one of these fields, or those named in `rank_fields`. Other fields are ignored but returned."""

    model_config = ConfigDict(extra="allow")

    text: str | None = None
    image: str | None = Field(default=None, description="Same as `image_url`.")
    image_url: str | ImageUrl | None = Field(
        default=None, description="A picture: a data URI, or a URL whose host is in ALLOW_IMAGE_URLS."
    )


class RerankBody(RequestModel):
    """`documents`, or `texts` as for text-embeddings-inference. Unknown fields are ignored."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["documents"]}, {"required": ["texts"]}]},
    )

    query: EmbeddableText = Field(examples=["where can I see a lighthouse"])
    documents: list[str | DocumentObject] | None = Field(
        default=None,
        fail_fast=True,
        json_schema_extra=limited(min_items=1, maxItems="max_rerank_documents"),
        description="Texts or pictures, not both: their scores cannot be compared. A text that is the data URI of a "
        "picture (`data:image/…;base64,…`) is a picture; an empty text is ranked last.",
        examples=[["a lighthouse at dusk", "a red bicycle"]],
    )
    texts: list[str] | None = Field(
        default=None,
        fail_fast=True,
        examples=[["a lighthouse at dusk", "a red bicycle"]],
        json_schema_extra=limited(min_items=1, maxItems="max_rerank_documents"),
        description="Instead of `documents`; the answer is then a list, as in text-embeddings-inference.",
    )
    model: str | None = Field(default=None, description="RERANK_MODEL_ID, which is also the default.")
    top_n: int | None = Field(
        default=None, ge=1, description="Return only this many of the best documents. Default: all."
    )
    return_documents: bool | None = Field(default=None, description="Return each document with its score.")
    return_text: bool = Field(default=False, description="Return each text with its score.")
    raw_scores: bool = Field(default=False, description="Return the model's raw scores instead of numbers from 0 to 1.")
    rank_fields: list[str] | None = Field(
        default=None, min_length=1, description="The fields of document objects to read, in this order, line by line."
    )
    max_tokens_per_doc: int | None = Field(
        default=None,
        ge=1,
        description="Read at most this many tokens of each document. RERANK_MAX_TOKENS still applies.",
    )
    max_chunks_per_doc: Any = Field(default=None, description="Ignored: documents are not split.")
    truncate: bool | None = Field(
        default=None, description="False: a text longer than the model reads is an error instead of being cut."
    )
    truncation_direction: Literal["right", "Right"] = Field(
        default="right", description="Texts are cut at the end; cutting at the beginning is not supported."
    )

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.documents is None) == (self.texts is None):
            raise PydanticCustomError("missing_field", "The body needs `documents`, or `texts` in their place.")
        return self
