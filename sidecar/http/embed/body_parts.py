"""Parts of request bodies that several foreign APIs share: texts, and OpenAI's content parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from sidecar.errors import InputError
from sidecar.http.body_models import RequestModel
from sidecar.http.embed.contents import Content
from sidecar.http.limits import limited

_UNSUPPORTED_IDS = (
    "Token ids are not read: those of another tokenizer mean nothing to this model. Send the text itself."
    " LangChain in Python: OpenAIEmbeddings(check_embedding_ctx_length=False), AzureOpenAIEmbeddings alike;"
    " where it is embedded in another program, that program's setting for it, such as"
    " RAG_CHECK_EMBEDDING_CTX_LENGTH=False of LibreChat's rag_api. LiteLLM passes on what it is given: hand it"
    " strings. LangChain.js, LlamaIndex (OpenAILikeEmbedding), Haystack and Spring AI send texts as they are."
)

_Text = Annotated[str, Field(json_schema_extra={"pattern": r"^[^\x00]*[^\x00\s][^\x00]*$"})]
Texts = Annotated[
    list[_Text], Field(fail_fast=True, json_schema_extra=limited(min_items=1, maxItems="max_batch_texts"))
]
TextOrTexts = Annotated[_Text | Texts, Field(examples=["a red bicycle", ["a red bicycle", "a lighthouse at dusk"]])]


class ImageUrl(RequestModel):
    """As in OpenAI's chat API; unknown fields such as `detail` are ignored."""

    url: str = Field(description="A data URI, or a URL whose host is in ALLOW_IMAGE_URLS.")


class TextPart(RequestModel):
    type: Literal["text"]
    text: str


class ImagePart(RequestModel):
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


def text_contents(texts: str | Sequence[str], param: str) -> list[Content]:
    """A single text is named `param`, those of a list `param[0]`, `param[1]`, …"""
    if isinstance(texts, str):
        return [Content(param, texts)]
    return [Content(f"{param}[{index}]", text) for index, text in enumerate(texts)]


def read_parts(parts: Sequence[TextPart | ImagePart], param: str) -> list[Content]:
    """One content per part, named `param[0].text`, `param[1].image_url.url`, …"""
    return [
        Content(f"{param}[{number}].text", part.text)
        if isinstance(part, TextPart)
        else Content(f"{param}[{number}].image_url.url", part.image_url.url, is_picture=True)
        for number, part in enumerate(parts)
    ]


def reject_token_ids(parsed: object, field: str) -> None:
    """Raises InputError (`tokens_not_supported`) if `field` of a parsed body has token ids, one list or several.

    `read_json` runs it before it counts values: a thousand texts have many ids, and sending fewer would not help.
    """
    value = parsed.get(field) if isinstance(parsed, dict) else None
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, list) or (isinstance(first, int) and not isinstance(first, bool)):
        raise InputError("tokens_not_supported", f"`{field}`: {_UNSUPPORTED_IDS}", field)
