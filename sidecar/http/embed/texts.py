"""Bodies of `/embed/text…`, and the check that a text can be embedded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from starlette.requests import Request

from sidecar.errors import InputError
from sidecar.http.bodies.json_body import read_json
from sidecar.http.body_models import RequestModel
from sidecar.http.limits import RequestLimits, limited

# Not blank, and without NUL; `check_text` has the messages.
EmbeddableText = Annotated[
    str,
    Field(
        description="Embedded in lower case and without punctuation, as SigLIP was trained: `C++` and `C#` are `c`, "
        "`1.5 kg` is `15 kg`. A text of which nothing is left, such as `!!!`, is refused (`empty_text`).",
        json_schema_extra={"pattern": r"^[^\x00]*[^\x00\s][^\x00]*$", **limited(maxLength="max_text_chars")},
    ),
]


class TextBody(RequestModel):
    """Unknown fields are ignored."""

    text: EmbeddableText = Field(examples=["a red bicycle"])


class TextsBody(RequestModel):
    texts: list[EmbeddableText] = Field(
        fail_fast=True,
        examples=[["a red bicycle", "a lighthouse at dusk"]],
        json_schema_extra=limited(min_items=1, maxItems="max_batch_texts"),
    )


async def read_text(request: Request, limits: RequestLimits) -> str:
    """The text of a `{"text": …}` body. Raises InputError for another body, or a text that cannot be embedded."""
    text = (await read_json(request, TextBody, limits)).text
    check_text(text, "text", limits)
    return text


async def read_texts(request: Request, limits: RequestLimits) -> list[str]:
    """The texts of a `{"texts": […]}` body. Raises InputError, naming a text that cannot be embedded `texts[2]`."""
    texts = (await read_json(request, TextsBody, limits)).texts
    _check_count(texts, limits)
    for index, text in enumerate(texts):
        check_text(text, f"texts[{index}]", limits)
    return texts


def _check_count(texts: Sequence[str], limits: RequestLimits) -> None:
    if not texts:
        raise InputError("empty_list", "`texts` is empty; send at least one text.", "texts")
    if len(texts) > limits.max_batch_texts:
        message = f"`texts` has {len(texts)} texts; at most {limits.max_batch_texts} (MAX_BATCH_TEXTS) go in a request."
        raise InputError("too_many_texts", message, "texts")


def check_text(text: str, param: str, limits: RequestLimits) -> None:
    """Raises InputError, naming the text `param`, if it is blank, too long, or has a NUL character."""
    if not text.strip():
        raise InputError("empty_text", f"`{param}` is empty; there is nothing to embed.", param)
    if len(text) > limits.max_text_chars:
        message = f"`{param}` has {len(text)} characters; at most {limits.max_text_chars} (MAX_TEXT_CHARS) are read."
        raise InputError("text_too_long", message, param)
    if "\0" in text:  # Postgres cannot store it, so no row can have such a text either
        raise InputError("invalid_text", f"`{param}` contains the character NUL (U+0000). Remove it.", param)
