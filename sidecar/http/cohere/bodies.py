"""Bodies of `/v2/embed` and `/v1/embed`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sidecar.http.body_models import RequestModel
from sidecar.http.embed.body_parts import Part, Texts, read_parts, text_contents
from sidecar.http.embed.contents import Content
from sidecar.http.limits import limited

EmbeddingType: TypeAlias = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]

_Images = Annotated[
    list[str], Field(fail_fast=True, json_schema_extra=limited(min_items=1, maxItems="max_batch_images"))
]


class EmbedInput(RequestModel):
    """One text or one picture; several parts cannot be embedded as one vector."""

    content: list[Part] = Field(min_length=1, max_length=1)


class CohereEmbedBody(RequestModel):
    """One of `texts`, `images` and `inputs`. Unknown fields are ignored."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [name]} for name in ("texts", "images", "inputs")]},
    )

    texts: Texts | None = Field(default=None, examples=[["a red bicycle", "a lighthouse at dusk"]])
    images: _Images | None = Field(default=None, description="Data URIs, or URLs whose host is in ALLOW_IMAGE_URLS.")
    inputs: list[EmbedInput] | None = Field(
        default=None,
        fail_fast=True,
        min_length=1,
        description="Texts and pictures in any mix; the vectors have the same order.",
    )
    model: str | None = Field(default=None, description="The served model's id, which is also the default.")
    input_type: str | None = Field(
        default=None, description="Ignored: the model embeds queries and documents in the same way."
    )
    embedding_types: list[EmbeddingType] | None = Field(
        default=None,
        description="`float`, `base64` (float32, little-endian), `ubinary` and `binary` (a bit for each number that is "
        "above 0, eight to a byte). `int8` and `uint8` are refused: there is no agreed scale for them.",
    )
    truncate: Literal["NONE", "END"] | None = Field(
        default=None,
        description="NONE: a text longer than the model reads is an error. Otherwise its end is cut off.",
    )
    max_tokens: int | None = Field(default=None, ge=1, description="A text with more tokens is an error.")
    output_dimension: int | None = Field(
        default=None, ge=0, description="The model's own dimensions; no others are supported."
    )
    priority: int | None = Field(default=None, description="Ignored.")

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if sum(source is not None for source in (self.texts, self.images, self.inputs)) != 1:
            message = "The body needs one of `texts`, `images` and `inputs`; it has {count} of them."
            count = sum(source is not None for source in (self.texts, self.images, self.inputs))
            raise PydanticCustomError("missing_field", message, {"count": count})
        return self

    @property
    def source(self) -> str:
        """The name of the field with the contents."""
        return "texts" if self.texts is not None else "images" if self.images is not None else "inputs"

    def contents(self) -> Sequence[Content]:
        """The texts and pictures in the order of the vectors. Data URIs among `texts` are texts."""
        if self.texts is not None:
            return text_contents(self.texts, "texts")
        if self.images is not None:
            return [Content(f"images[{index}]", image, is_picture=True) for index, image in enumerate(self.images)]
        return [
            content
            for index, each in enumerate(self.inputs or ())
            for content in read_parts(each.content, f"inputs[{index}].content")
        ]
