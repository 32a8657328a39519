"""What one request wants the vectors of: texts and pictures in one order, however the foreign API writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from pydantic import Field

from sidecar.batching.embedder import Embedded
from sidecar.errors import InputError
from sidecar.http.embed.embedding import embed_pictures, embed_texts
from sidecar.http.embed.texts import check_text
from sidecar.http.images.loader import ImageLoader
from sidecar.http.limits import RequestLimits, limited
from sidecar.http.models import Models

_REFUSED_IDS = (
    "Token ids are not read: those of another tokenizer mean nothing to this model. Send the text itself."
    " LangChain in Python: OpenAIEmbeddings(check_embedding_ctx_length=False), AzureOpenAIEmbeddings alike;"
    " where it is embedded in another program, that program's setting for it, such as"
    " RAG_CHECK_EMBEDDING_CTX_LENGTH=False of LibreChat's rag_api. LiteLLM passes on what it is given: hand it"
    " strings. LangChain.js, LlamaIndex (OpenAILikeEmbedding), Haystack and Spring AI send texts as they are."
)


def refuse_token_ids(parsed: object, field: str) -> None:
    """Raises InputError (`tokens_not_supported`) if that field of a body has ids, one list of them or several.

    For `read_json`, before it counts values: ids of a thousand texts are many, and sending less would not help.
    """
    value = parsed.get(field) if isinstance(parsed, dict) else None
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, list) or (isinstance(first, int) and not isinstance(first, bool)):
        raise InputError("tokens_not_supported", f"`{field}`: {_REFUSED_IDS}", field)


_Text = Annotated[str, Field(json_schema_extra={"pattern": r"^[^\x00]*[^\x00\s][^\x00]*$"})]
Texts = Annotated[
    list[_Text], Field(fail_fast=True, json_schema_extra=limited(min_items=1, maxItems="max_batch_texts"))
]
TextOrTexts = Annotated[_Text | Texts, Field(examples=["a red bicycle", ["a red bicycle", "a lighthouse at dusk"]])]


@dataclass(frozen=True, slots=True)
class Content:
    """One text, or one reference to a picture, under its name in the request."""

    param: str
    value: str
    is_picture: bool = False


def text_contents(texts: str | Sequence[str], param: str) -> list[Content]:
    """One text is named `param`, those of a list `param[0]`, `param[1]`, …"""
    if isinstance(texts, str):
        return [Content(param, texts)]
    return [Content(f"{param}[{index}]", text) for index, text in enumerate(texts)]


def check_contents(contents: Sequence[Content], param: str, limits: RequestLimits) -> None:
    """Raises InputError for none, for too many, and for texts that cannot be embedded; `param` lists them all."""
    if not contents:
        raise InputError("empty_list", f"`{param}` is empty; send at least one text or picture.", param)
    pictures = sum(content.is_picture for content in contents)
    for count, most, name, code in (
        (len(contents) - pictures, limits.max_batch_texts, "texts (MAX_BATCH_TEXTS)", "too_many_texts"),
        (pictures, limits.max_batch_images, "pictures (MAX_BATCH_IMAGES)", "too_many_pictures"),
    ):
        if count > most:
            raise InputError(code, f"`{param}` has {count} {name}; at most {most} go in a request.", param)
    for content in contents:
        if not content.is_picture:
            check_text(content.value, content.param, limits)


async def embed_contents(models: Models, images: ImageLoader, contents: Sequence[Content]) -> list[Embedded]:
    """In order, all or none. Raises InputError, naming the content that is wrong; Overloaded, DeviceError."""
    embedder = models.embedder
    texts = [content for content in contents if not content.is_picture]
    values, params = [text.value for text in texts], [text.param for text in texts]
    pictures = {
        content.param: partial(images.read, content.value, content.param) for content in contents if content.is_picture
    }
    if not pictures:
        return await embed_texts(embedder, values, params)
    with embedder.reserve(len(texts), len(pictures)) as reservation:
        of_texts = iter(await embed_texts(embedder, values, params, reservation) if texts else ())
        of_pictures = iter(await embed_pictures(embedder, pictures, reservation))
    return [next(of_pictures if content.is_picture else of_texts) for content in contents]


def require_dimensions(requested: int | None, dimensions: int, param: str) -> None:
    """Raises InputError (`dimensions_not_supported`) for vectors of another length. 0 is as good as none.

    infinity's client sends 0 where its user sends nothing.
    """
    if not requested or requested == dimensions:
        return
    message = (
        f"`{param}` is {requested}; the vectors here have {dimensions}. The model was not trained for shorter ones "
        f"(no Matryoshka training). Send {dimensions}, or no `{param}`."
    )
    raise InputError("dimensions_not_supported", message, param)


def refuse_cut_texts(contents: Sequence[Content], embedded: Sequence[Embedded], reason: str) -> None:
    """Raises InputError (`text_too_long`) for the first text that was cut; `reason` says what forbids it."""
    for content, one in zip(contents, embedded, strict=True):
        if one.truncated:
            message = f"`{content.param}` is longer than the model reads, and {reason}."
            raise InputError("text_too_long", message, content.param)
