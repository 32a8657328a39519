"""Vectors of what one request sent, whole or not at all: what cannot be embedded is named as the request names it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from sidecar.batching.admission import Reservation
from sidecar.batching.embedder import Embedded, Embedder
from sidecar.batching.job import Lane
from sidecar.concurrency import running_tasks
from sidecar.errors import PictureRejected, TextRejected

# Pictures of one request that are worked on at once: enough to decode one while another is encoded.
_PICTURES_AT_ONCE = 4

ReadPicture: TypeAlias = Callable[[], Awaitable[bytes]]


async def embed_texts(
    embedder: Embedder, texts: Sequence[str], params: Sequence[str], reservation: Reservation | None = None
) -> list[Embedded]:
    """In order. Raises TextRejected for the first text that nothing is left of, with its name of `params`.

    Raises Overloaded, unless the request has a `reservation`.
    """
    answers = await embedder.embed_texts(texts, Lane.QUERY, reservation)
    return [_accepted(answer, param) for answer, param in zip(answers, params, strict=True)]


async def embed_picture(
    embedder: Embedder, image: bytes, param: str, reservation: Reservation | None = None
) -> Embedded:
    """Raises PictureRejected that names the picture as `param`; Overloaded unless its request has a `reservation`."""
    try:
        return await embedder.embed_picture(image, Lane.QUERY, reservation)
    except PictureRejected as error:
        raise PictureRejected(error.code, f"`{param}`: {error.message}", param) from error


async def embed_pictures(
    embedder: Embedder, pictures: Mapping[str, ReadPicture], reservation: Reservation
) -> list[Embedded]:
    """In order of `pictures`, which are named by their keys and read when their turn comes.

    The first failure cancels the others and is raised. With the request's `reservation` none is rejected halfway.
    """
    turns = asyncio.Semaphore(_PICTURES_AT_ONCE)

    async def embed(param: str, read: ReadPicture) -> Embedded:
        async with turns:
            return await embed_picture(embedder, await read(), param, reservation)

    async with running_tasks({param: embed(param, read) for param, read in pictures.items()}) as tasks:
        return await asyncio.gather(*tasks)


def _accepted(answer: Embedded | TextRejected, param: str) -> Embedded:
    if isinstance(answer, TextRejected):
        raise TextRejected(answer.code, f"`{param}`: {answer.message}", param)
    return answer
