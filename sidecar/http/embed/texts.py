"""Bodies of `/embed/text…`, and the check that a text can be embedded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from sidecar.errors import InputError
from sidecar.http.body_models import RequestModel
from sidecar.http.limits import RequestLimits, limited

# Not blank, and without NUL; `check_text` has the messages.
EmbeddableText = Annotated[
    str,
    Field(
        description="Embedded in lower case and without punctuation, as SigLIP was trained: `C++` and `C#` become `c`, "
        "`1.5 kg` becomes `15 kg`. A text with nothing left, such as `!!!`, is refused (`empty_text`).",
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


def check_texts(texts: Sequence[str], params: Sequence[str], limits: RequestLimits) -> None:
    """Raises InputError if `texts` is empty or too long, or one of them, named by `params`, cannot be embedded."""
    if not texts:
        raise InputError("empty_list", "`texts` is empty; send at least one text.", "texts")
    if len(texts) > limits.max_batch_texts:
        message = f"`texts` has {len(texts)} texts; at most {limits.max_batch_texts} (MAX_BATCH_TEXTS) go in a request."
        raise InputError("too_many_texts", message, "texts")
    for text, param in zip(texts, params, strict=True):
        check_text(text, param, limits)


def check_text(text: str, param: str, limits: RequestLimits) -> None:
    """Raises InputError, naming the text `param`, if it is blank, too long, or has a NUL character."""
    if not text.strip():
        raise InputError("empty_text", f"`{param}` is empty; there is nothing to embed.", param)
    if len(text) > limits.max_text_chars:
        message = f"`{param}` has {len(text)} characters; at most {limits.max_text_chars} (MAX_TEXT_CHARS) are read."
        raise InputError("text_too_long", message, param)
    if "\0" in text:  # Postgres cannot store it, so no row can have such a text either
        raise InputError("invalid_text", f"`{param}` contains the character NUL (U+0000). Remove it.", param)
