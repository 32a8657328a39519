"""Bodies of `/v1/embeddings`: OpenAI's, with the additions of infinity and vLLM for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sidecar.http.body_models import RequestModel
from sidecar.http.embed.body_parts import Part, TextOrTexts, read_parts, text_contents
from sidecar.http.embed.contents import Content
from sidecar.http.images.loader import is_image_reference


class Message(RequestModel):
    role: Any = "user"
    content: str | Annotated[list[Part], Field(fail_fast=True)]


class EmbeddingsBody(RequestModel):
    """`input` or `messages`. Unknown fields are ignored."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["input"]}, {"required": ["messages"]}]})

    input: TextOrTexts | None = Field(default=None, description="A text or a picture, or a list of them.")
    messages: list[Message] | None = Field(
        default=None, fail_fast=True, description="One text or one picture, as in vLLM's API, with exactly one part."
    )
    model: str | None = Field(default=None, description="The served model's id, which is also the default.")
    encoding_format: Literal["float", "base64"] | None = Field(
        default="float", description="base64: the vector's float32 numbers, little-endian."
    )
    dimensions: int | None = Field(
        default=None, ge=0, description="The model's own dimensions; no others are supported."
    )
    modality: Literal["text", "image"] | None = Field(
        default=None,
        description="What `input` is, as in infinity's API. By default the data URI of a picture "
        "(`data:image/…;base64,…`) is a picture and everything else is a text.",
    )
    user: Any = Field(default=None, description="Ignored.")

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.input is None) == (self.messages is None):
            raise PydanticCustomError("missing_field", "The body needs `input`, or `messages` in its place.")
        return self

    def contents(self) -> list[Content]:
        """The texts and pictures in the order of the vectors."""
        if self.messages is not None:
            return _message_contents(self.messages)
        return [
            Content(text.param, text.value, self._is_picture(text.value))
            for text in text_contents(() if self.input is None else self.input, "input")
        ]

    def _is_picture(self, value: str) -> bool:
        return self.modality == "image" or (self.modality is None and is_image_reference(value))


def _message_contents(messages: Sequence[Message]) -> list[Content]:
    contents: list[Content] = []
    for index, message in enumerate(messages):
        param = f"messages[{index}].content"
        if isinstance(message.content, str):
            contents.append(Content(param, message.content))
        else:
            contents += read_parts(message.content, param)
    return contents
