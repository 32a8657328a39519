"""OpenAI's content parts, which other APIs have taken over: one text or one picture each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from sidecar.http.body_models import RequestModel
from sidecar.http.embed.contents import Content


class ImageUrl(RequestModel):
    """As in OpenAI's chat; `detail` and the like are ignored."""

    url: str = Field(description="A data URI; a URL where ALLOW_IMAGE_URLS names its host.")


class TextPart(RequestModel):
    type: Literal["text"]
    text: str


class ImagePart(RequestModel):
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


def read_parts(parts: Sequence[TextPart | ImagePart], param: str) -> list[Content]:
    """One content for each; they are named `param[0].text`, `param[1].image_url.url`."""
    return [
        Content(f"{param}[{number}].text", part.text)
        if isinstance(part, TextPart)
        else Content(f"{param}[{number}].image_url.url", part.image_url.url, is_picture=True)
        for number, part in enumerate(parts)
    ]
