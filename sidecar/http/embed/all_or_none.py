"""Embeds the texts and pictures of one request, all or none; errors name the input by its field in the request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from sidecar.batching.admission import Reservation
from sidecar.batching.embedder import Embedded, Embedder
from sidecar.batching.job import Lane
from sidecar.concurrency import running_tasks
from sidecar.errors import PictureRejected, TextRejected
from sidecar.http.models import GetModels, Models

_PICTURES_AT_ONCE = 4  # of one request: enough to decode some while others are encoded

LoadPicture: TypeAlias = Callable[[], Awaitable[bytes]]


def models_with_capacity(get_models: GetModels) -> Models:
    """The models, to be called before the body is read. Raises NotReady, and Overloaded if the query lane is full."""
    models = get_models()
    models.embedder.reject_if_full(Lane.QUERY)
    return models


async def embed_texts(
    embedder: Embedder, texts: Sequence[str], params: Sequence[str], reservation: Reservation | None = None
) -> list[Embedded]:
    """Vectors in the order of `texts`, whose names in the request are `params`.

    Raises TextRejected for the first text without a vector; Overloaded unless the request has a `reservation`.
    """
    results = await embedder.embed_texts(texts, Lane.QUERY, reservation)
    return [_require_vector(result, param) for result, param in zip(results, params, strict=True)]


async def embed_picture(
    embedder: Embedder, image: bytes, param: str, reservation: Reservation | None = None
) -> Embedded:
    """The picture's vector. Raises PictureRejected that names it `param`; Overloaded without a `reservation`."""
    try:
        return await embedder.embed_picture(image, Lane.QUERY, reservation)
    except PictureRejected as error:
        raise PictureRejected(error.code, f"`{param}`: {error.message}", param) from error


async def embed_pictures(
    embedder: Embedder, pictures: Mapping[str, LoadPicture], reservation: Reservation
) -> list[Embedded]:
    """Vectors in the order of `pictures`: how to load each, by its name in the request.

    Few are loaded and embedded at once. The first failure cancels the others and is raised. With the request's
    `reservation` none is rejected halfway.
    """
    slots = asyncio.Semaphore(_PICTURES_AT_ONCE)

    async def embed(param: str, load: LoadPicture) -> Embedded:
        async with slots:
            return await embed_picture(embedder, await load(), param, reservation)

    async with running_tasks({param: embed(param, load) for param, load in pictures.items()}) as tasks:
        return await asyncio.gather(*tasks)


def _require_vector(result: Embedded | TextRejected, param: str) -> Embedded:
    if isinstance(result, TextRejected):
        raise TextRejected(result.code, f"`{param}`: {result.message}", param)
    return result
