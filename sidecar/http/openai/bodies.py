"""What OpenAI's clients send to `/v1/embeddings`, and what those of infinity and vLLM add for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sidecar.http.images import is_image_reference
from sidecar.http.schema_limits import limited

_STRICT = ConfigDict(strict=True, frozen=True)


def _refuse_tokens(value: Any) -> Any:
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, list) or (isinstance(first, int) and not isinstance(first, bool)):
        raise PydanticCustomError(
            "tokens_not_supported",
            "Token ids are not read: those of another tokenizer mean nothing to this model. Send the text itself"
            " (LangChain: check_embedding_ctx_length=False).",
        )
    return value


_Item = Annotated[str, Field(json_schema_extra={"pattern": r"^[^\x00]*[^\x00\s][^\x00]*$"})]
_Items = Annotated[
    list[_Item], Field(fail_fast=True, json_schema_extra=limited(min_items=1, maxItems="max_batch_texts"))
]
Input = Annotated[
    _Item | _Items | None,
    BeforeValidator(_refuse_tokens),
    Field(examples=["a red bicycle", ["a red bicycle", "a lighthouse at dusk"]]),
]


class ImageUrl(BaseModel):
    """As in OpenAI's chat; `detail` and the like are ignored."""

    model_config = _STRICT

    url: str = Field(description="A data URI; a URL where ALLOW_IMAGE_URLS names its host.")


class TextPart(BaseModel):
    model_config = _STRICT

    type: Literal["text"]
    text: str


class ImagePart(BaseModel):
    model_config = _STRICT

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(BaseModel):
    model_config = _STRICT

    role: str = "user"
    content: str | Annotated[list[Part], Field(fail_fast=True)]


@dataclass(frozen=True, slots=True)
class Content:
    """One text, or one reference to a picture, under its name in the request."""

    param: str
    value: str
    is_picture: bool


class EmbeddingsBody(BaseModel):
    """`input` or `messages`. Fields that nobody reads are ignored."""

    model_config = ConfigDict(
        strict=True, frozen=True, json_schema_extra={"anyOf": [{"required": ["input"]}, {"required": ["messages"]}]}
    )

    input: Input = Field(default=None, description="A text or a picture, or a list of them.")
    messages: list[Message] | None = Field(
        default=None, fail_fast=True, description="vLLM's way to send one text or one picture, with one part in all."
    )
    model: str | None = Field(default=None, description="The served model's id. Left out, it is meant.")
    encoding_format: Literal["float", "base64"] | None = Field(
        default="float", description="base64: the vector's float32 numbers, little-endian."
    )
    dimensions: int | None = Field(default=None, ge=1, description="Those of the model; no others are made.")
    modality: Literal["text", "image"] | None = Field(
        default=None,
        description="infinity's way to say what `input` is. Left out, the data URI of a picture "
        "(`data:image/…;base64,…`) is a picture and everything else is a text.",
    )
    user: str | None = Field(default=None, description="Ignored.")

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.input is None) == (self.messages is None):
            raise PydanticCustomError("missing_field", "The body needs `input`, or `messages` in its place.")
        return self

    def contents(self) -> list[Content]:
        """In order of the vectors."""
        if self.messages is not None:
            return _parts(self.messages)
        if isinstance(self.input, str):
            return [self._content("input", self.input)]
        return [self._content(f"input[{index}]", value) for index, value in enumerate(self.input or ())]

    def _content(self, param: str, value: str) -> Content:
        is_picture = self.modality == "image" or (self.modality is None and is_image_reference(value))
        return Content(param, value, is_picture)


def _parts(messages: Sequence[Message]) -> list[Content]:
    contents: list[Content] = []
    for index, message in enumerate(messages):
        param = f"messages[{index}].content"
        if isinstance(message.content, str):
            contents.append(Content(param, message.content, is_picture=False))
            continue
        for number, part in enumerate(message.content):
            if isinstance(part, TextPart):
                contents.append(Content(f"{param}[{number}].text", part.text, is_picture=False))
            else:
                contents.append(Content(f"{param}[{number}].image_url.url", part.image_url.url, is_picture=True))
    return contents
