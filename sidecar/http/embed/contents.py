"""Checks and embeds the texts and pictures of a request to a foreign API, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request

from sidecar.batching.embedder import Embedded, Embedder
from sidecar.errors import InputError
from sidecar.http.cancellation import cancel_on_disconnect
from sidecar.http.embed.all_or_none import embed_pictures, embed_texts
from sidecar.http.embed.texts import check_text
from sidecar.http.images.loader import ImageLoader
from sidecar.http.limits import RequestLimits
from sidecar.http.models import GetModels, Models


@dataclass(frozen=True, slots=True)
class Content:
    """One text, or one reference to a picture; `param` is its name in the request."""

    param: str
    value: str
    is_picture: bool = False


def check_contents(contents: Sequence[Content], param: str, limits: RequestLimits) -> None:
    """Raises InputError if there are none or too many, or a text cannot be embedded; `param` names the whole list."""
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


@dataclass(frozen=True, slots=True)
class ContentEmbedder:
    """Embeds the contents of requests to foreign APIs."""

    get_models: GetModels
    limits: RequestLimits
    images: ImageLoader

    async def embed(self, request: Request, models: Models, contents: Sequence[Content], param: str) -> list[Embedded]:
        """Vectors in order, all or none; `param` names the list. Cancelled if the client disconnects.

        Raises InputError, naming the content that is wrong; Overloaded, DeviceError, ClientDisconnect.
        """
        check_contents(contents, param, self.limits)
        return await cancel_on_disconnect(request, _embed(models.embedder, self.images, contents))


async def _embed(embedder: Embedder, images: ImageLoader, contents: Sequence[Content]) -> list[Embedded]:
    texts = [content for content in contents if not content.is_picture]
    values, params = [text.value for text in texts], [text.param for text in texts]
    pictures = {
        content.param: partial(images.load, content.value, content.param) for content in contents if content.is_picture
    }
    if not pictures:
        return await embed_texts(embedder, values, params)
    with embedder.reserve(len(texts), len(pictures)) as reservation:
        text_vectors = iter(await embed_texts(embedder, values, params, reservation) if texts else ())
        picture_vectors = iter(await embed_pictures(embedder, pictures, reservation))
    return [next(picture_vectors if content.is_picture else text_vectors) for content in contents]


def check_dimensions(requested: int | None, dimensions: int, param: str) -> None:
    """Raises InputError (`dimensions_not_supported`) unless `requested` is None, 0 or `dimensions`.

    infinity's client sends 0 by default.
    """
    if not requested or requested == dimensions:
        return
    message = (
        f"`{param}` is {requested}; the vectors here have {dimensions}. The model was not trained for shorter ones "
        f"(no Matryoshka training). Send {dimensions}, or no `{param}`."
    )
    raise InputError("dimensions_not_supported", message, param)


def reject_truncated(contents: Sequence[Content], embedded: Sequence[Embedded], reason: str) -> None:
    """Raises InputError (`text_too_long`) for the first truncated text; `reason` is the option that forbids it."""
    for content, result in zip(contents, embedded, strict=True):
        if result.truncated:
            message = f"`{content.param}` is longer than the model reads, and {reason}."
            raise InputError("text_too_long", message, content.param)
